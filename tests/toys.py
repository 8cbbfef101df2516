"""One toy model per promise, each with its answers in closed form: what every task is tried on first.

`TOYS[name]()` makes one. They compute in the precision of `dtype` (float32 as real models do; float64 for laws).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from imprior import bounds
from imprior.coding.tables import FrequencyTables
from imprior.distributions.gaussian import DiagonalGaussian
from imprior.distributions.likelihoods import Bernoulli, Gaussian
from imprior.promises import Distribution, Latents, Score, Shape, Sink, Source


def every_image(height: int = 3, width: int = 3, *, dtype: torch.dtype = torch.float64) -> Tensor:
    """All binary images of a size: [2^(H·W), 1, H, W]."""
    rows = list(itertools.product((0.0, 1.0), repeat=height * width))
    return torch.tensor(rows, dtype=dtype).view(-1, 1, height, width)


class LinearGaussian:
    """z ~ N(0, 1), x = W z + offset + σ ε; keeps LatentVariable, Scores (exact) and Samples.

    The columns of W are orthogonal, so the exact posterior has independent units: of mean w·(x - offset) / (|w|² + σ²)
    and variance σ² / (|w|² + σ²). `error` moves its mean away from the truth.
    """

    shape: Shape = (1, 3, 3)
    levels: int | None = None
    classes: int | None = None

    def __init__(
        self, lengths: tuple[float, ...] = (0.6, 0.3), *, sigma: float = 0.1, error: float = 0.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:  # fmt: skip
        rng = torch.Generator().manual_seed(0)
        directions = torch.linalg.qr(torch.randn(9, len(lengths), generator=rng, dtype=torch.float64))[0]
        self.weight = (directions * torch.tensor(lengths, dtype=torch.float64)).to(dtype)  # [9, D]
        self.offset = torch.linspace(0.3, 0.7, 9, dtype=dtype)
        self.sigma, self.error = sigma, error
        self.calls = 0  # images that the encoder has seen

    def posterior(self, x: Tensor) -> DiagonalGaussian:
        self.calls += len(x)
        total = self.weight.square().sum(0) + self.sigma**2
        mean = (x.flatten(1) - self.offset) @ self.weight / total + self.error
        return DiagonalGaussian(mean, (self.sigma**2 / total).log().expand_as(mean))

    def prior(self) -> DiagonalGaussian:
        return DiagonalGaussian.standard((self.weight.shape[1],), dtype=self.weight.dtype)

    def likelihood(self, z: Tensor) -> Distribution:
        return Gaussian(self.decode(z), torch.tensor(self.sigma, dtype=z.dtype).log())

    def encode(self, x: Tensor) -> Tensor:
        return self.posterior(x).mean

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return (z @ self.weight.T + self.offset).view(-1, 1, 3, 3)

    def latent(self, n: int, rng: torch.Generator) -> Tensor:
        return self.prior().sample(n, rng)

    def sample(self, n: int, rng: torch.Generator, labels: Tensor | None = None) -> Tensor:
        return self.likelihood(self.latent(n, rng)).sample(1, rng)[0]

    def score(
        self, x: Tensor, labels: Tensor | None = None, samples: int = 1, rng: torch.Generator | None = None
    ) -> Score:
        weight = self.weight.double()
        covariance = weight @ weight.T + self.sigma**2 * torch.eye(9, dtype=torch.float64)
        exact = torch.distributions.MultivariateNormal(self.offset.double(), covariance)
        return Score(-exact.log_prob(x.flatten(1).double()), "exact", "continuous", "exact")


class BernoulliVae:
    """z ~ N(0, 1), binary pixels given z, a crude encoder; keeps LatentVariable, Scores (a bound) and Samples.

    `evidence` integrates p(x) over a grid of z, to ten digits.
    """

    shape: Shape = (1, 3, 3)
    levels: int | None = 2
    classes: int | None = None

    def __init__(self, latents: int = 1, *, dtype: torch.dtype = torch.float32) -> None:
        rng = torch.Generator().manual_seed(1)
        self.weight = (1.5 * torch.randn(9, latents, generator=rng, dtype=torch.float64)).to(dtype)
        self.offset = (0.5 * torch.randn(9, generator=rng, dtype=torch.float64)).to(dtype)
        self.calls = 0  # images that the encoder has seen
        self.decoded: list[int] = []  # latents of each call of the decoder

    def posterior(self, x: Tensor) -> DiagonalGaussian:
        self.calls += len(x)
        mean = (x.flatten(1) - 0.5) @ self.weight / (1 + 0.25 * self.weight.square().sum(0))
        return DiagonalGaussian(mean, torch.full_like(mean, -0.5))

    def prior(self) -> DiagonalGaussian:
        return DiagonalGaussian.standard((self.weight.shape[1],), dtype=self.weight.dtype)

    def likelihood(self, z: Tensor) -> Bernoulli:
        self.decoded.append(len(z))
        return Bernoulli((z @ self.weight.T + self.offset).view(-1, 1, 3, 3))

    def encode(self, x: Tensor) -> Tensor:
        return self.posterior(x).mean

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.likelihood(z).mean

    def latent(self, n: int, rng: torch.Generator) -> Tensor:
        return self.prior().sample(n, rng)

    def sample(self, n: int, rng: torch.Generator, labels: Tensor | None = None) -> Tensor:
        return self.likelihood(self.latent(n, rng)).sample(1, rng)[0]

    def score(
        self, x: Tensor, labels: Tensor | None = None, samples: int = 1, rng: torch.Generator | None = None
    ) -> Score:
        nats = bounds.importance_bound(self, x, samples=samples, rng=rng)
        return Score(nats, "bound", "binary", f"importance-weighted, {samples} samples")

    def evidence(self, x: Tensor) -> Tensor:
        """log p(x), [N] float64, by the trapezoid rule."""
        axis = torch.linspace(-9, 9, 121, dtype=torch.float64)
        z = torch.cartesian_prod(*[axis] * self.weight.shape[1]).view(-1, self.weight.shape[1])  # [G, D]
        logits = z @ self.weight.double().T + self.offset.double()
        log_joint = x.flatten(1).double() @ logits.T - torch.nn.functional.softplus(logits, threshold=50).sum(1)
        log_prior = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1)
        return (log_joint + log_prior).logsumexp(1) + self.weight.shape[1] * (axis[1] - axis[0]).log()


class Pixels:
    """Independent binary pixels of known probabilities; keeps Scores (exact), Samples and Completes."""

    shape: Shape = (1, 3, 3)
    levels: int | None = 2
    classes: int | None = None

    def __init__(self, *, dtype: torch.dtype = torch.float32) -> None:
        self.logits = torch.linspace(-3, 3, 9, dtype=dtype).view(1, 3, 3)

    def score(
        self, x: Tensor, labels: Tensor | None = None, samples: int = 1, rng: torch.Generator | None = None
    ) -> Score:
        bounds.check_levels(x, self.levels)
        nats = -Bernoulli(self.logits.double()).log_prob(x.double())
        return Score(nats, "exact", "binary", "exact")

    def sample(self, n: int, rng: torch.Generator, labels: Tensor | None = None) -> Tensor:
        return Bernoulli(self.logits).sample(n, rng)

    def complete(self, x: Tensor, known: Tensor, rng: torch.Generator) -> Tensor:
        return torch.where(known, x, self.sample(len(x), rng))


class Identity:
    """The code of an image is the image; keeps Encodes. Codes are uniform in [0, 1]."""

    shape: Shape = (1, 3, 3)
    levels: int | None = None
    classes: int | None = None

    def encode(self, x: Tensor) -> Tensor:
        return x.flatten(1)

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return z.view(-1, 1, 3, 3)

    def latent(self, n: int, rng: torch.Generator) -> Tensor:
        return torch.rand(n, 9, generator=rng)


class LinearDecoder:
    """z ~ N(0, diag(deviation²)), x = W z + offset with orthonormal columns of W; keeps Decodes and no more.

    So the latent of an image is (x - offset) W, and what it leaves of an image is the part across the columns.
    """

    shape: Shape = (1, 3, 3)
    levels: int | None = None
    classes: int | None = None

    def __init__(self, deviation: tuple[float, ...] = (0.5, 0.2), *, dtype: torch.dtype = torch.float32) -> None:
        rng = torch.Generator().manual_seed(2)
        self.weight = torch.linalg.qr(torch.randn(9, len(deviation), generator=rng, dtype=torch.float64))[0].to(dtype)
        self.offset = torch.linspace(0.6, 0.4, 9, dtype=dtype)
        self.deviation = torch.tensor(deviation, dtype=dtype)

    def latent(self, n: int, rng: torch.Generator) -> Tensor:
        return self.deviation * torch.randn(n, len(self.deviation), generator=rng, dtype=self.weight.dtype)

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return (z @ self.weight.T + self.offset).view(-1, 1, 3, 3)


class Levels:
    """Writes each pixel's 8-bit level k with one table; keeps Codes (lossless, exact).

    Half of the table is level 0, the rest is shared equally: 1 bit for a black pixel, 1 + log2(255) for any other.
    """

    shape: Shape = (1, 3, 3)
    levels: int | None = 256
    classes: int | None = None
    stride, halo, exact, lossless, rates = 1, 0, True, True, 1

    def __init__(self) -> None:
        others = torch.full((255,), 2**23 // 255)
        others[: 2**23 % 255] += 1
        self.tables = FrequencyTables.of(torch.cat([torch.tensor([2**23]), others])[None])

    def analyse(self, x: Tensor, rate: int) -> Latents:
        n, channels, height, width = x.shape
        return Latents(((255 * x).round().int(),), (n, channels, height, width))

    def write(self, latents: Latents, sink: Sink, rate: int) -> None:
        symbols = latents.blocks[0].flatten()
        sink.put(symbols, torch.zeros_like(symbols), self.tables)

    def read(self, source: Source, shape: tuple[int, int, int, int], rate: int) -> Latents:
        index = torch.zeros(shape, dtype=torch.int32)
        return Latents((source.get(index.flatten(), self.tables).view(shape),), shape)

    def synthesise(self, latents: Latents, rate: int) -> Tensor:
        return latents.blocks[0] / 255


class TiledLevels:
    """Colour levels in steps of 8, 4, 2 or 1, each pixel with its neighbours' share; keeps CodesTiles (exact).

    Level numbers are written with one uniform table. A decoded pixel is half its own level and an eighth of each of
    its four neighbours (repeated at the border), rounded down.
    """

    shape: Shape = (3, None, None)
    levels: int | None = 256
    classes: int | None = None
    stride, halo, exact, lossless, rates, place, sees = 4, 1, True, False, 4, 1, 0
    decoder = "a toy"

    def __init__(self) -> None:
        self.tables = FrequencyTables.of(torch.full((1, 256), 2**16))

    def transform(self, x: Tensor) -> Tensor:
        return 255 * x

    def refine(
        self, grid: Tensor, x: Tensor, rate: int, steps: int, *, tell: Callable[[int, int], None] | None = None
    ) -> Tensor:
        return grid

    def settle(self, grid: Tensor, rate: int) -> Latents:
        n, channels, height, width = grid.shape
        return Latents(((grid / 2 ** (3 - rate)).round().int(), torch.tensor(rate)), (n, channels, height, width))

    def arrived(self, latents: Latents) -> Tensor:
        k, rate = latents.blocks
        return k << (3 - int(rate))

    def picture(self, grid: Tensor) -> Tensor:
        p = F.pad(grid.float(), (1, 1, 1, 1), mode="replicate").int()
        around = p[..., :-2, 1:-1] + p[..., 2:, 1:-1] + p[..., 1:-1, :-2] + p[..., 1:-1, 2:]
        return ((4 * grid + around) >> 3).clamp(0, 255) / 255

    def analyse(self, x: Tensor, rate: int) -> Latents:
        n, channels, height, width = x.shape
        whole = F.pad(x, (0, -width % self.stride, 0, -height % self.stride), mode="replicate")
        return Latents(self.settle(self.transform(whole), rate).blocks, (n, channels, height, width))

    def write(self, latents: Latents, sink: Sink, rate: int) -> None:
        symbols = latents.blocks[0].flatten()
        sink.put(symbols, torch.zeros_like(symbols), self.tables)

    def read(self, source: Source, shape: tuple[int, int, int, int], rate: int) -> Latents:
        sides = (-(-side // self.stride) * self.stride for side in shape[2:])
        index = torch.zeros(*shape[:2], *sides, dtype=torch.int32)
        return Latents((source.get(index.flatten(), self.tables).view(index.shape), torch.tensor(rate)), shape)

    def synthesise(self, latents: Latents, rate: int) -> Tensor:
        return self.picture(self.arrived(latents))[..., : latents.shape[2], : latents.shape[3]]


class Shrinkage:
    """Pixels are N(½, spread²): the best estimate draws noisy ones towards ½; keeps Denoises. Any size.

    Its mean squared error is spread² σ² / (spread² + σ²).
    """

    shape: Shape = (None, None, None)
    levels: int | None = None
    classes: int | None = None

    def __init__(self, spread: float = 0.2, trained_at: float = 0.1) -> None:
        self.spread, self.trained_at = spread, trained_at

    def denoise(self, y: Tensor, sigma: float | None = None) -> Tensor:
        noise = (self.trained_at if sigma is None else sigma) ** 2
        return 0.5 + self.spread**2 / (self.spread**2 + noise) * (y - 0.5)


class LocalShrinkage:
    """Draws pixels towards the mean of their 3x3 surroundings, more where sigma is larger; keeps DenoisesLocally."""

    shape: Shape = (None, None, None)
    levels: int | None = None
    classes: int | None = None
    reach, stride, largest = 1, 4, 75 / 255

    def __init__(self, spread: float = 0.2) -> None:
        self.spread = spread

    def denoise(self, y: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        if sigma is None:
            sigma = self.noise(y).repeat_interleave(4, 2).repeat_interleave(4, 3)[..., : y.shape[2], : y.shape[3]]
        elif isinstance(sigma, Tensor) and sigma.ndim == 1:
            sigma = sigma.view(-1, 1, 1, 1)
        mean = F.avg_pool2d(y, 3, 1, 1, count_include_pad=False)
        return mean + self.spread**2 / (self.spread**2 + sigma**2) * (y - mean)

    def noise(self, y: Tensor) -> Tensor:
        mean, square = (F.avg_pool2d(v, 4, 4, ceil_mode=True).mean(1, True) for v in (y, y.square()))
        return (square - mean.square()).clamp_min(0).sqrt()


class Brightness:
    """Class 1 above half of the light, class 0 below, as a logistic function of it; features are the pixels.

    Keeps Classifies.
    """

    shape: Shape = (1, 3, 3)
    levels: int | None = None
    classes: int | None = 2
    measure = "FD-toy"

    def features(self, x: Tensor) -> Tensor:
        return x.flatten(1)

    def classify(self, x: Tensor) -> Tensor:
        logit = 20 * (x.flatten(1).mean(1) - 0.5)
        return torch.stack((-logit, logit), 1).log_softmax(1)


TOYS: dict[str, Callable[[], Any]] = {
    "linear-gaussian": LinearGaussian,
    "bernoulli-vae": BernoulliVae,
    "pixels": Pixels,
    "identity": Identity,
    "linear-decoder": LinearDecoder,
    "levels": Levels,
    "tiled-levels": TiledLevels,
    "shrinkage": Shrinkage,
    "local-shrinkage": LocalShrinkage,
    "brightness": Brightness,
}
