"""A mixture of binary images: one of K templates is chosen, and each pixel is drawn by itself with its probability.

    k ~ weights ──► probabilities[k] ──► x ~ Bernoulli                                    [] → [C,H,W] → [C,H,W]
    p(x) = Σ_k weights[k] Π_d probabilities[k,d]^x_d (1 - probabilities[k,d])^(1 - x_d)

The simplest latent-variable model there is: its latent is one of K numbers, so posterior, likelihood and completion of
any part are exact. Fitted by expectation-maximisation; a pixel of a template is shrunk towards the pixel's mean over
all images by `smoothing` images' worth of it (a Beta prior), so that no probability becomes 0 or 1.

References: G. McLachlan, D. Peel, "Finite mixture models", 2000; C. Bishop, "Pattern recognition and machine
learning", 2006, section 9.3.3.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imprior.bounds import check_levels
from imprior.distributions.draws import categorical, uniform
from imprior.errors import RecipeError
from imprior.models.seeding import gathered, spread
from imprior.promises import Score, Shape, check_shape
from imprior.randomness import generator


@dataclass(frozen=True)
class Config:
    """Settings of a Bernoulli mixture.

    Attributes:
        shape: (channels, height, width) of the images; zeros are filled in from the data.
        components: number of templates, K.
        smoothing: weight of the prior, in images a template: 0 is maximum likelihood, which gives images with a pixel
            that a template never saw no probability.
    """

    shape: tuple[int, int, int] = (0, 0, 0)
    components: int = 200
    smoothing: float = 1.0

    def __post_init__(self) -> None:
        if self.components < 1:
            raise RecipeError(f"components must be at least 1, not {self.components}")
        if not self.smoothing > 0:
            raise RecipeError(f"smoothing must be above 0, not {self.smoothing}")

    def build(self) -> BernoulliMixture:
        """The model before it has seen an image."""
        return BernoulliMixture(self)


class BernoulliMixture(nn.Module):
    """Keeps Scores (exact), Samples and Completes (exact, any mask)."""

    levels: int | None = 2
    classes: int | None = None

    log_weights: Tensor  # [K]
    logits: Tensor  # [K, D], log p / (1 - p)
    passes: Tensor  # [], how often `update` has been called

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.shape: Shape = config.shape
        self.seed = int(torch.randint(2**31, ()))  # of the first templates; it follows the recipe's seed
        pixels = math.prod(config.shape)
        self.register_buffer("log_weights", torch.full((config.components,), -math.log(config.components)))
        self.register_buffer("logits", torch.zeros(config.components, pixels))
        self.register_buffer("passes", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def update(self, batches: Iterable[Tensor]) -> float:
        """One step of expectation-maximisation, over all images; the first one draws templates to begin with.

        Args:
            batches: all training images, binary, [N, C, H, W] at a time; the first call goes through them twice.

        Returns:
            What the step lowered: minus the mean log-likelihood in nats per image, plus the prior's part, both of the
            model before the step.

        Raises:
            DataError: no images, images of another shape, or grey ones.
        """
        if not int(self.passes):
            # Halfway between a template's image and grey: no image is impossible under any template.
            self.logits.copy_((0.25 + 0.5 * spread(*self._start(batches))).logit())
        log_weights, on, off = self._log_probabilities()
        count, total = 0, torch.zeros((), dtype=torch.float64, device=on.device)
        share = torch.zeros_like(log_weights)  # [K], images that each template answers for
        ones = torch.zeros_like(on)  # [K, D], and the ones among their pixels
        for x in batches:
            bits = self._bits(x)
            joint = log_weights + bernoulli_log_prob(bits, torch.ones_like(bits), on, off)
            evidence = joint.logsumexp(1)
            responsibility = (joint - evidence[:, None]).exp()
            count, total = count + len(bits), total + evidence.sum()
            share += responsibility.sum(0)
            ones += responsibility.T @ bits
        prior = self.config.smoothing
        centre = (ones.sum(0) + 0.5) / (count + 1)  # [D], each pixel's mean, within (0, 1)
        penalty = -prior * (centre * on + (1 - centre) * off).sum()
        share = share + 10 * torch.finfo(share.dtype).eps
        self.log_weights.copy_(share.log() - share.sum().log())
        self.logits.copy_(((ones + prior * centre) / (share[:, None] + prior)).logit())
        self.passes += 1
        return float((penalty - total) / count)

    @torch.no_grad()
    def score(
        self, x: Tensor, labels: Tensor | None = None, samples: int = 1, rng: torch.Generator | None = None
    ) -> Score:
        """Minus log-probability, exact and in float64.

        Raises:
            DataError: images of another shape, or grey ones.
        """
        log_weights, on, off = self._log_probabilities()
        bits = self._bits(x)
        joint = log_weights + bernoulli_log_prob(bits, torch.ones_like(bits), on, off)
        return Score(-joint.logsumexp(1), "exact", "binary", "exact")

    @torch.no_grad()
    def sample(self, n: int, rng: torch.Generator, labels: Tensor | None = None) -> Tensor:
        """Draw n binary images [n, C, H, W]."""
        which = categorical(self.log_weights.expand(n, -1), rng)
        return self._drawn(which, rng)

    @torch.no_grad()
    def complete(self, x: Tensor, known: Tensor, rng: torch.Generator) -> Tensor:
        """Draw what is missing from its exact distribution given the rest.

        Args:
            x: [N, C, H, W], binary where known; what stands elsewhere is not looked at.
            known: bool [N, 1, H, W], any mask.
            rng: of the template and the pixels.

        Raises:
            DataError: images of another shape, or grey ones.
        """
        log_weights, on, off = self._log_probabilities()
        seen = known.expand(x.shape)
        bits = self._bits(torch.where(seen, x, 0))
        which = categorical(log_weights + bernoulli_log_prob(bits, seen.flatten(1).to(bits), on, off), rng)
        return torch.where(seen, x, self._drawn(which, rng).to(x))

    def _start(self, batches: Iterable[Tensor]) -> tuple[Tensor, int, torch.Generator]:
        images = gathered((self._bits(x) for x in batches), self.logits)
        return images, self.config.components, generator(self.seed, "templates")

    def _drawn(self, which: Tensor, rng: torch.Generator) -> Tensor:
        """Images of the templates `which` [n]."""
        p = self.logits[which].sigmoid()
        return (uniform(p.shape, rng, p) < p).to(p.dtype).reshape(-1, *self.config.shape)

    def _log_probabilities(self) -> tuple[Tensor, Tensor, Tensor]:
        """Log-weights [K] and log-probabilities of a one and of a zero [K, D], float64."""
        logits = self.logits.double()
        return self.log_weights.double().log_softmax(0), F.logsigmoid(logits), F.logsigmoid(-logits)

    def _bits(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> float64 [N, D]."""
        check_shape(x, self.config.shape)
        check_levels(x, 2)
        return x.flatten(1).to(self.logits.device, torch.float64).round()


def bernoulli_log_prob(bits: Tensor, known: Tensor, on: Tensor, off: Tensor) -> Tensor:
    """Log-probability of the known bits under each of K vectors of independent pixels.

    Args:
        bits: [..., D], 0 or 1; 0 where not known.
        known: [..., D], 1 where known, else 0.
        on, off: [K, D], log-probabilities of a one and of a zero.

    Returns:
        [..., K] nats.

    >>> half = torch.full((1, 3), 0.5).log()
    >>> bernoulli_log_prob(torch.tensor([1.0, 0.0, 0.0]), torch.tensor([1.0, 1.0, 0.0]), half, half).exp()
    tensor([0.2500])
    """
    return bits @ on.T + (known - bits) @ off.T
