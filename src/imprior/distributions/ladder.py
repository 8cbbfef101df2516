"""Latents in several rungs, each drawn given those above it: the prior and the posterior of a ladder.

    p(z)     = p(z_top)     · Π_r p(z_r | z above r)               z = (z_top, …, z_bottom), concatenated
    q(z | x) = q(z_top | x) · Π_r q(z_r | z above r, x)

Below the top all conditionals are Gaussians with independent units, so the KL of a rung is in closed form once the
rungs above it are drawn: E_q log q(z | x) / p(z) needs draws of the states only, never of a rung's own noise.

Reference: Sønderby et al. 2016, Ladder variational autoencoders; Vahdat & Kautz 2020, NVAE, section 3.2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from imprior.distributions.gaussian import DiagonalGaussian, kl


class Top(Protocol):
    """The prior of the top rung: [*batch, size of the top rung]."""

    @property
    def mean(self) -> Tensor:
        """[size]."""
        ...

    def sample(self, n: int, rng: torch.Generator | None) -> Tensor:
        """[n, size]."""
        ...

    def log_prob(self, value: Tensor) -> Tensor:
        """[...] nats, for value [..., size]."""
        ...


class Descent(Protocol):
    """The way down: what the rungs drawn so far leave to the next one. Rung 0 is the top."""

    @property
    def sizes(self) -> Sequence[int]:
        """Latent numbers of each rung."""
        ...

    def state(self, rung: int, above: Tensor | None, z: Tensor) -> Tensor:
        """What rungs up to `rung` say, from the state before it (None at the top) and its draw."""
        ...

    def prior(self, rung: int, above: Tensor) -> DiagonalGaussian:
        """p(z_rung | z above), for a rung below the top."""
        ...

    def posterior(self, rung: int, above: Tensor, prior: DiagonalGaussian, evidence: Tensor) -> DiagonalGaussian:
        """q(z_rung | z above, x), where `evidence` is what x says to this rung."""
        ...


@dataclass(frozen=True)
class Step:
    """One rung on the way down: its draw, and the Gaussians that it was drawn from (no prior at the top)."""

    z: Tensor
    posterior: DiagonalGaussian
    prior: DiagonalGaussian | None


class LadderPrior:
    """p(z).

    Args:
        descent: the way down.
        top: p(z_top).
    """

    def __init__(self, descent: Descent, top: Top) -> None:
        self.descent = descent
        self.top = top

    @property
    def mean(self) -> Tensor:
        """Each rung's mean given the means above it, [D]: the middle of p (its expectation has no closed form)."""
        return self._down(self.top.mean[None], lambda p: p.mean)[0]

    def sample(self, n: int, rng: torch.Generator | None) -> Tensor:
        """[n, D]."""
        return self._down(self.top.sample(n, rng), lambda p: p.sample(1, rng)[0])

    def log_prob(self, value: Tensor) -> Tensor:
        """[...] nats, for value [..., D]."""
        z = torch.split(value, list(self.descent.sizes), -1)
        total = self.top.log_prob(z[0])
        state = self.descent.state(0, None, z[0])
        for rung in range(1, len(z)):
            total = total + self.descent.prior(rung, state).log_prob(z[rung])
            if rung < len(z) - 1:
                state = self.descent.state(rung, state, z[rung])
        return total

    def _down(self, top: Tensor, pick: Callable[[DiagonalGaussian], Tensor]) -> Tensor:
        found, state = [top], self.descent.state(0, None, top)
        for rung in range(1, len(self.descent.sizes)):
            found.append(pick(self.descent.prior(rung, state)))
            if rung < len(self.descent.sizes) - 1:
                state = self.descent.state(rung, state, found[-1])
        return torch.cat(found, -1)


class LadderPosterior:
    """q(z | x) of a batch of N images.

    Args:
        descent: the way down.
        top: q(z_top | x), a batch of N.
        evidence: what the images say to the rungs below the top, in their order: [N, …] each.
    """

    def __init__(self, descent: Descent, top: DiagonalGaussian, evidence: Sequence[Tensor]) -> None:
        self.descent = descent
        self.top = top
        self.evidence = evidence
        self._drawn: tuple[Tensor, list[Step], bool] | None = None

    def __getitem__(self, images: slice) -> LadderPosterior:
        """The entries `images` of the batch."""
        return LadderPosterior(self.descent, self.top[images], [e[images] for e in self.evidence])

    @property
    def mean(self) -> Tensor:
        """Each rung's mean given the means above it, [N, D]: the middle of q, and an image's code."""
        return _joined(self._down(lambda rung, q: q.mean))

    def sample(self, n: int, rng: torch.Generator | None) -> Tensor:
        """[n, N, D], differentiable."""
        steps = self._down(lambda rung, q: q.sample(n if rung == 0 else 1, rng)[slice(None) if rung == 0 else 0])
        z = _joined(steps)
        # What follows a draw is its density: the same way down once more, were it not kept. Only for this very tensor.
        self._drawn = (z, steps, torch.is_grad_enabled())
        return z

    def log_prob(self, value: Tensor) -> Tensor:
        """[..., N] nats, for value [..., N, D]."""
        steps = self._steps(value)
        return torch.stack([step.posterior.log_prob(step.z) for step in steps]).sum(0)

    def kl_steps(self, value: Tensor, prior: LadderPrior) -> Tensor:
        """KL of each rung given those above it in `value`: [..., N, D] -> [..., N, rungs] nats, the top first.

        In closed form, but at the top under a prior other than a Gaussian: there log q - log p at `value`. Averaged
        over draws of q the sum is KL(q ‖ p).
        """
        top, *below = self._steps(value)
        if isinstance(prior.top, DiagonalGaussian):
            found = [kl(top.posterior, prior.top).sum(-1).expand(value.shape[:-1])]
        else:
            found = [top.posterior.log_prob(top.z) - prior.top.log_prob(top.z)]
        for step in below:
            assert step.prior is not None
            found.append(kl(step.posterior, step.prior).sum(-1))
        return torch.stack(found, -1)

    def _steps(self, value: Tensor) -> list[Step]:
        if self._drawn is not None and self._drawn[0] is value and self._drawn[2] == torch.is_grad_enabled():
            return self._drawn[1]
        z = torch.split(value, list(self.descent.sizes), -1)
        return self._down(lambda rung, q: z[rung])

    def _down(self, pick: Callable[[int, DiagonalGaussian], Tensor]) -> list[Step]:
        steps = [Step(pick(0, self.top), self.top, None)]
        state = self.descent.state(0, None, steps[0].z)
        for rung, evidence in enumerate(self.evidence, 1):
            prior = self.descent.prior(rung, state)
            posterior = self.descent.posterior(rung, state, prior, evidence)
            steps.append(Step(pick(rung, posterior), posterior, prior))
            if rung < len(self.evidence):
                state = self.descent.state(rung, state, steps[-1].z)
        return steps


def _joined(steps: Sequence[Step]) -> Tensor:
    return torch.cat([step.z for step in steps], -1)
