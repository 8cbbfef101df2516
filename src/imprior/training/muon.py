"""Muon: steps whose matrices turn the features by about as much in every direction.

    M ← momentum · M + G
    U ← G + momentum · M, orthogonalised
    W ← (1 - rate · decay) W - rate · 0.2 √max(rows, columns) U

A layer's weights [out, …] are a matrix [out, rest]. Its update has all singular values about 1, from five steps of a
polynomial in the matrix, where Adam's is ruled by the few directions that gradients have most of. The factor gives
updates the size that AdamW's have, so one rate serves both. All other parameters take AdamW's steps.

References: Jordan et al. 2024, Muon (the polynomial); Liu et al. 2025, Muon is scalable for LLM training (eq. 4, the
size); Loshchilov & Hutter 2019, Decoupled weight decay regularization (AdamW).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from imprior.nn.precision import fast_bfloat16

_POLYNOMIAL = (3.4445, -4.7750, 2.0315)  # x -> ax + bx³ + cx⁵ takes singular values from (0, 1] to about 1 fast
_STEPS = 5
_SIZE = 0.2  # root mean square of AdamW's updates, as found in practice


class Muon(torch.optim.Optimizer):
    """See the module; groups say whether they are `matrices`, and have lr, weight_decay, momentum and AdamW's betas."""

    def __init__(
        self,
        parameters: Sequence[dict[str, Any]],
        lr: float,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.999),
    ) -> None:
        usual = {"lr": lr, "weight_decay": 0.0, "momentum": momentum, "betas": betas, "matrices": True}
        super().__init__(parameters, usual)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step from the gradients."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["first"] = torch.zeros_like(p)
                    if not group["matrices"]:
                        state["second"] = torch.zeros_like(p)
                        state["step"] = torch.zeros(())
                p.mul_(1 - group["lr"] * group["weight_decay"])
                update = _orthogonal(p, state, group) if group["matrices"] else _adam(p, state, group)
                p.add_(update, alpha=-group["lr"])


def _orthogonal(p: Tensor, state: dict[str, Tensor], group: dict[str, Any]) -> Tensor:
    gradient, momentum = p.grad, group["momentum"]
    assert gradient is not None
    first = state["first"].mul_(momentum).add_(gradient)
    ahead = gradient.add(first, alpha=momentum).flatten(1)
    # The polynomial is made for the few digits of bfloat16; where that is slow, it is worked out in float32.
    low = ahead.bfloat16() if fast_bfloat16(ahead) else ahead
    update: Tensor = orthogonalised(low).to(p.dtype) * (_SIZE * max(ahead.shape) ** 0.5)
    return update.view(p.shape)


def _adam(p: Tensor, state: dict[str, Tensor], group: dict[str, Any]) -> Tensor:
    gradient, (fast, slow) = p.grad, group["betas"]
    assert gradient is not None
    state["step"] += 1
    taken = float(state["step"])
    first = state["first"].lerp_(gradient, 1 - fast)
    second = state["second"].mul_(slow).addcmul_(gradient, gradient, value=1 - slow)
    update: Tensor = first / (1 - fast**taken) / ((second / (1 - slow**taken)).sqrt() + 1e-8)
    return update


def orthogonalised(x: Tensor) -> Tensor:
    """The matrix [rows, columns] with about the same singular vectors and singular values of about 1 (0.7 to 1.2)."""
    a, b, c = _POLYNOMIAL
    tall = x.shape[0] > x.shape[1]
    y: Tensor = (x.T if tall else x) / (x.norm() + 1e-12)
    for _ in range(_STEPS):
        square = y @ y.T
        y = torch.addmm(y, torch.addmm(square, square, square, beta=b, alpha=c), y, beta=a)
    return y.T if tall else y
