"""Two players: a critic that tells images of the data from drawn ones, and a generator that the critic can't tell.

    r = critic(x),  f = critic(G(z))             critic's loss                        generator's loss
    relativistic                        mean softplus(f - r)                 mean softplus(r - f)
    non-saturating                      mean softplus(-r) + softplus(f)      mean softplus(-f)
    minimax                             the same                             mean -softplus(f)
    hinge                               mean relu(1 - r) + relu(1 + f)       mean -f
    wgan-gp                             mean f - r                           mean -f

and onto the critic's loss a penalty on the gradients ∇D of its output by the image: R1 at images of the data,
weight/2 · E‖∇D(x)‖², R2 at drawn ones, or `slope` on lines between the two, weight · E(‖∇D‖ - 1)². The relativistic
loss compares pairs, so the critic can't push all drawn images to one side of a threshold and the generator can't win
by dropping modes; with both R1 and R2 the game has a point where it comes to rest. That is the default.

References: Goodfellow et al. 2014 (minimax, non-saturating); Lim & Ye 2017, Geometric GAN (hinge); Gulrajani et al.
2017, Improved training of Wasserstein GANs (eq. 3); Mescheder, Geiger & Nowozin 2018, Which training methods for GANs
do actually converge? (eq. 9, R1 and R2); Odena, Olah & Shlens 2017, Conditional image synthesis with auxiliary
classifier GANs (section 3, the term of labels); Jolicoeur-Martineau 2018, The relativistic discriminator; Huang et al.
2024, The GAN is dead; long live the GAN! (eq. 2 and 5).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.functional import relu, softplus

from imprior.distributions.draws import uniform
from imprior.errors import RecipeError
from imprior.parts import Batch, Parts

Loss = Literal["relativistic", "non-saturating", "minimax", "hinge", "wgan-gp"]
Penalty = Literal["textbook", "none", "r1", "r1+r2", "slope"]
# Which penalty each loss is known with; the hinge loss has R1 in the place of its spectral normalisation.
TEXTBOOK: dict[Loss, Penalty] = {
    "relativistic": "r1+r2",
    "non-saturating": "r1",
    "minimax": "none",
    "hinge": "r1",
    "wgan-gp": "slope",
}


@runtime_checkable
class Adversaries(Protocol):
    """A generator and a critic."""

    critic: nn.Module

    def generate(self, n: int, rng: torch.Generator, labels: Tensor | None) -> Tensor:
        """n images [n, C, H, W], differentiably."""
        ...

    def judge(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """The critic's output for each image [N, C, H, W] -> [N]; higher means taken for one of the data."""
        ...

    def judge_and_classify(self, x: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        """That output [N], and log-probabilities of the labels [N, classes]."""
        ...


@dataclass(frozen=True)
class Adversarial:
    """Settings of the objective, which is also the objective: call it, once for each player.

    Attributes:
        loss: see above.
        penalty: on the critic's gradients; "textbook" is the one that the loss is known with.
        weight: of the penalty, for images in [0, 1]; "slope" is usually given 10.
        share: fraction of the batch that penalties are computed on, at least one image. They take three times as long
            as the loss, and an estimate from a part has the same mean.
        labels: weight of the term of labels, in nats; 0 leaves it out.
    """

    loss: Loss = "relativistic"
    penalty: Penalty = "textbook"
    weight: float = 1.0
    share: float = 0.25
    labels: float = 0.0

    def __post_init__(self) -> None:
        for name, weight in (("a penalty", self.weight), ("labels", self.labels)):
            if weight < 0:
                raise RecipeError(f"the weight of {name} can't be negative: {weight}")
        if not 0 < self.share <= 1:
            raise RecipeError(f"share is a fraction above 0 and at most 1, not {self.share}")

    def __call__(
        self, model: Adversaries, batch: Batch, *, rng: torch.Generator, progress: float, player: str | None = None
    ) -> Parts:
        """The loss of a player on a batch.

        Args:
            model: both players.
            batch: images; a conditional model is given their labels, and draws for the same labels.
            rng: for latents and places between images.
            progress: not used; this objective is the same throughout.
            player: "critic" or "generator"; None is the critic's loss without penalty, to look at.

        Returns:
            Report of the critic: `loss`, `right` (share of pairs of an image and a drawn one in which it prefers the
            image; 0.5 when it can't tell) and the penalties before weighting. Of the generator: `loss`.
        """
        x, labels, n = batch.x, batch.labels, len(batch.x)
        if player == "generator":
            with _frozen(model.critic):
                fake, unlike = self._judged(model, model.generate(n, rng, labels), labels)
                with torch.no_grad():
                    real = model.judge(x, labels).float()
            loss = self.generator_loss(real, fake)
            return Parts(loss + self.labels * unlike.mean(), {"loss": loss.detach()})
        with torch.no_grad():
            drawn = model.generate(n, rng, labels)
        both, unlike = self._judged(model, torch.cat((x, drawn)), None if labels is None else labels.repeat(2))
        real, fake = both.chunk(2)
        loss = self.critic_loss(real, fake)
        report = {"loss": loss.detach(), "right": (real > fake).float().mean()}
        loss = loss + self.labels * unlike[:n].mean()
        if player is None:
            return Parts(loss, report)
        for name, penalty in self._penalties(model, x, drawn, labels, rng).items():
            loss = loss + self.weight * penalty
            report[name] = penalty.detach()
        return Parts(loss, report)

    def critic_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """Of the critic's outputs [N] for images and for drawn ones: a scalar.

        >>> Adversarial("hinge").critic_loss(torch.tensor([0.5]), torch.tensor([-2.0]))
        tensor(0.5000)
        """
        if self.loss == "relativistic":
            return softplus(fake - real).mean()
        if self.loss == "hinge":
            return relu(1 - real).mean() + relu(1 + fake).mean()
        if self.loss == "wgan-gp":
            return fake.mean() - real.mean()
        return softplus(-real).mean() + softplus(fake).mean()

    def generator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """Of the critic's outputs [N] for images and for drawn ones: a scalar."""
        if self.loss == "relativistic":
            return softplus(real - fake).mean()
        if self.loss == "minimax":
            return -softplus(fake).mean()
        return softplus(-fake).mean() if self.loss == "non-saturating" else -fake.mean()

    def _judged(self, model: Adversaries, x: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        """The critic's output, and minus the log-probability of the label, 0 where that is not asked: [N] each."""
        if not self.labels:
            judged = model.judge(x, labels).float()
            return judged, torch.zeros_like(judged)
        judged, log_p = model.judge_and_classify(x, labels)
        assert labels is not None
        return judged.float(), -log_p.gather(1, labels.view(-1, 1)).squeeze(1)

    def _penalties(
        self, model: Adversaries, x: Tensor, drawn: Tensor, labels: Tensor | None, rng: torch.Generator
    ) -> dict[str, Tensor]:
        kind = TEXTBOOK[self.loss] if self.penalty == "textbook" else self.penalty
        part = math.ceil(self.share * len(x))
        x, drawn, labels = x[:part], drawn[:part], None if labels is None else labels[:part]
        if kind == "slope":
            between = torch.lerp(drawn, x, uniform((part, 1, 1, 1), rng, x))
            return {"slope": (_squared_slope(model, between, labels).sqrt() - 1).square().mean()}
        if kind == "r1":
            return {"r1": _squared_slope(model, x, labels).mean() / 2}
        if kind == "r1+r2":
            both = torch.cat((x, drawn)), None if labels is None else labels.repeat(2)
            r1, r2 = _squared_slope(model, *both).chunk(2)
            return {"r1": r1.mean() / 2, "r2": r2.mean() / 2}
        return {}


def _squared_slope(model: Adversaries, x: Tensor, labels: Tensor | None) -> Tensor:
    """‖∇D(x)‖² of each image, differentiable by the critic's weights: [N]. In float32, also under autocast."""
    with torch.autocast(x.device.type, enabled=False):
        leaf = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(model.judge(leaf, labels).sum(), leaf, create_graph=True)
    return slope.square().sum((1, 2, 3))


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """While the block runs, what the module computes needs no gradient by its weights: they are not to move."""
    moving = [p for p in module.parameters() if p.requires_grad]
    for p in moving:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in moving:
            p.requires_grad_(True)
