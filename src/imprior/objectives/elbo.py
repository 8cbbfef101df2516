"""The evidence lower bound and what is usually done to it in training: beta, warm-up, free bits, several samples.

    loss = mean over images of ( -log p(x | z) + weight · KL(q(z | x) ‖ p(z)) ),    z ~ q(z | x)

Both terms are summed (over pixels, over latents) before the mean over images: with a mean over pixels beta would be
off by their number. The encoder is given the corrupted image where there is one (a denoising VAE); the target is the
clean one.

References: Kingma & Welling 2014; Higgins et al. 2017, beta-VAE (beta); Bowman et al. 2016, Generating sentences from
a continuous space (warm-up); Kingma et al. 2016, Improved variational inference with inverse autoregressive flow
(free bits, eq. 16); Burda, Grosse & Salakhutdinov 2016, Importance weighted autoencoders.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from imprior import bounds
from imprior.errors import RecipeError
from imprior.parts import Batch, Parts
from imprior.promises import LatentVariable


@dataclass(frozen=True)
class Elbo:
    """Settings of the objective, which is also the objective: call it.

    Attributes:
        beta: weight of the KL term at the end of the warm-up; 1 is the bound.
        warmup: the weight rises linearly during this fraction of the training.
        warmup_from: where it starts, as a fraction of beta.
        free_bits: nats per latent unit below which its KL, averaged over the batch, is not pushed. Where the prior ties
            the units together (flow, mixture, VampPrior) the floor holds for their sum; where latents are drawn in
            steps (the rungs of a ladder), each step has an equal part of it.
        importance: samples of the importance-weighted bound that is maximised in the last phase; 1 for no such phase.
            It is a bound by itself: beta and free bits have no part in it.
        importance_from: progress (fraction of the training) at which that phase begins.
    """

    beta: float = 1.0
    warmup: float = 0.0
    warmup_from: float = 0.0
    free_bits: float = 0.0
    importance: int = 1
    importance_from: float = 0.9

    def __post_init__(self) -> None:
        if self.beta < 0 or self.free_bits < 0:
            raise RecipeError(f"beta and free_bits can't be negative: {self.beta}, {self.free_bits}")
        if self.importance < 1:
            raise RecipeError(f"importance must be at least 1 sample, not {self.importance}")
        if not all(0 <= fraction <= 1 for fraction in (self.warmup, self.warmup_from, self.importance_from)):
            raise RecipeError("warmup, warmup_from and importance_from are fractions in [0, 1]")

    def __call__(
        self, model: LatentVariable, batch: Batch, *, rng: torch.Generator, progress: float, player: str | None = None
    ) -> Parts:
        """The loss of a batch, in nats per image.

        Args:
            model: what is trained.
            batch: images; `corrupted` goes to the encoder where it is there.
            rng: where the latents' noise comes from.
            progress: fraction of the training that is done, in [0, 1].
            player: not used; this objective has one.

        Returns:
            Report: reconstruction (mean log p(x | z)), kl, elbo (their difference, whatever the weight) and weight;
            `kl_step_1`, … where latents are drawn in steps (the rungs of a ladder from the top, turns in time). In the
            importance-weighted phase only `bound`, the importance-weighted bound.
        """
        if self.importance > 1 and progress >= self.importance_from:
            bound = bounds.importance_elbo(
                model, batch.x, samples=self.importance, rng=rng, encoder_input=batch.corrupted
            ).mean()
            return Parts(-bound, {"bound": bound.detach()})
        parts = bounds.elbo(model, batch.x, rng=rng, encoder_input=batch.corrupted)
        reconstruction, kl = parts.reconstruction.mean(), parts.kl.mean()
        weight = self.weight(progress)
        loss = weight * self._floored(parts, kl) - reconstruction
        report = {"reconstruction": reconstruction, "kl": kl, "elbo": reconstruction - kl}
        if parts.in_steps:
            report |= {f"kl_step_{step}": value for step, value in enumerate(parts.kl_units.mean(0), 1)}
        return Parts(loss, {k: v.detach() for k, v in report.items()} | {"weight": torch.tensor(weight)})

    def weight(self, progress: float) -> float:
        """Weight of the KL term at `progress`.

        >>> Elbo(beta=2.0, warmup=0.5, warmup_from=0.1).weight(0.25)
        1.1
        """
        risen = min(progress / self.warmup, 1.0) if self.warmup > 0 else 1.0
        return self.beta * (self.warmup_from + (1 - self.warmup_from) * risen)

    def _floored(self, parts: bounds.Elbo, kl: Tensor) -> Tensor:
        """The KL term with its free bits: a scalar."""
        if self.free_bits == 0:
            return kl
        units = parts.kl_units.mean(0)  # [N,U] → [U]
        latents = parts.z[0].numel()
        return units.clamp(min=self.free_bits * latents / units.numel()).sum()
