"""Several processes as one: `torchrun --nproc-per-node 2 -m imprior train …`.

Each process takes an equal slice of every batch; gradients are averaged in one flat bucket, so the step equals that
of one process with the whole batch. The bucket also carries the loss and the wish to stop, so that all processes log
the same number and stop at the same step.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Group:
    """This process among `world`."""

    rank: int = 0
    world: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def average(self, parameters: Sequence[nn.Parameter], extra: Sequence[float]) -> list[float]:
        """Average all gradients, in place, and the numbers in `extra`, over the processes.

        The numbers are averaged in double precision apart from the gradients, which keep their own type.
        """
        if self.world == 1:
            return list(extra)
        gradients = [p.grad for p in parameters if p.grad is not None]
        bucket = torch.cat([g.reshape(-1) for g in gradients])
        torch.distributed.all_reduce(bucket)
        bucket /= self.world
        for gradient, part in zip(gradients, torch.split(bucket, [g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))
        return self.mean(extra)

    def mean(self, numbers: Sequence[float]) -> list[float]:
        """The average of each number over the processes."""
        if self.world == 1:
            return list(numbers)
        device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
        values: Tensor = torch.tensor(numbers, dtype=torch.float64, device=device)
        torch.distributed.all_reduce(values)
        return [v / self.world for v in values.tolist()]

    def from_leader(self, number: float) -> float:
        """The leader's number, in every process."""
        return self.mean([number if self.leads else 0.0])[0] * self.world


def join() -> Group:
    """Join the processes that torchrun started (by the variables that it sets); alone otherwise."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return Group()
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    return Group(torch.distributed.get_rank(), world)


def leave() -> None:
    """Leave the group that `join` joined, if any."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
