"""What models promise and tasks ask for: the contracts between the two, and nothing else.

A model keeps a promise by having its methods; no base class, no registration. A task calls `require(model, Samples)`
and works with every model that keeps the promise. Conventions, for all of them:

* an image batch `x` is float32 [N, C, H, W] in [0, 1]; an 8-bit level k is exactly k / 255;
* `shape` is (channels, height, width), None where any size will do; `levels` is 2 (binary), 256 (8-bit) or None
  (continuous); `classes` is the number of labels that a conditional model knows, else None;
* a latent `z` is [N, …]: a vector or a grid of numbers per image;
* randomness comes in as `rng`, a `torch.Generator`; nothing reads the global one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from imprior.errors import CapabilityError, DataError

Shape = tuple[int | None, int | None, int | None]
Space = Literal["binary", "8-bit", "continuous"]


@dataclass(frozen=True)
class Score:
    """Minus log-likelihood of each image.

    Attributes:
        nats: [N] float64, nats per image (all pixels summed); lower is better.
        kind: "exact", or "bound" where -log p(x) is at most `nats` (in expectation over the draws).
        space: what p is a distribution over: "binary" or "8-bit" images (a probability) or "continuous" (a density).
        protocol: how it was computed, for people: "importance-weighted, 1000 samples".
    """

    nats: Tensor
    kind: Literal["exact", "bound"]
    space: Space
    protocol: str


@runtime_checkable
class Model(Protocol):
    """What every model states about itself."""

    shape: Shape
    levels: int | None
    classes: int | None


class Distribution(Protocol):
    """A distribution over a batch of events; `sample` prepends one axis, `log_prob` sums over the event's axes."""

    @property
    def mean(self) -> Tensor:
        """[*batch, *event]."""
        ...

    def sample(self, n: int, rng: torch.Generator | None) -> Tensor:
        """Draw [n, *batch, *event], differentiably where the distribution is reparameterised."""
        ...

    def log_prob(self, value: Tensor) -> Tensor:
        """[..., *batch] nats, for value [..., *batch, *event]."""
        ...


class Posterior(Distribution, Protocol):
    """A distribution for each image of a batch; a slice picks images, so each can draw from its own generator."""

    def __getitem__(self, images: slice) -> Posterior:
        """The entries `images` of the first batch axis."""
        ...


@runtime_checkable
class Decodes(Model, Protocol):
    """Turns a latent into an image."""

    def latent(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw n latents as the model believes them to be distributed: [n, …]."""
        ...

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The mean image of each latent: [N, …] -> [N, C, H, W]."""
        ...


@runtime_checkable
class Encodes(Decodes, Protocol):
    """Turns an image into a latent as well."""

    def encode(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, …]; of a stochastic encoder, the mean."""
        ...


@runtime_checkable
class LatentVariable(Encodes, Protocol):
    """p(x) = ∫ p(z) p(x | z) dz with an approximate posterior q(z | x)."""

    def posterior(self, x: Tensor) -> Posterior:
        """q(z | x), a batch of N distributions over latents."""
        ...

    def prior(self) -> Distribution:
        """p(z), without a batch axis."""
        ...

    def likelihood(self, z: Tensor) -> Distribution:
        """p(x | z) for z [N, …], a batch of N distributions over images [C, H, W]."""
        ...


@runtime_checkable
class Scores(Model, Protocol):
    """Gives images a likelihood, or a bound on it."""

    def score(
        self, x: Tensor, labels: Tensor | None = None, samples: int = 1, rng: torch.Generator | None = None
    ) -> Score:
        """Minus log-likelihood in nats per image; `samples` draws where it is a bound by sampling."""
        ...


@runtime_checkable
class Samples(Model, Protocol):
    """Draws images."""

    def sample(self, n: int, rng: torch.Generator, labels: Tensor | None = None) -> Tensor:
        """n images [n, C, H, W] from the model's distribution (observation noise included)."""
        ...


@runtime_checkable
class Denoises(Model, Protocol):
    """Removes noise."""

    def denoise(self, y: Tensor, sigma: float | None = None) -> Tensor:
        """Noisy [N, C, H, W] (may leave [0, 1]) -> the clean image; `sigma`, if known, on the [0, 1] scale."""
        ...


@runtime_checkable
class DenoisesLocally(Denoises, Protocol):
    """Removes noise whose level is told pixel by pixel, looking at each pixel's surroundings only.

    So a picture can be cleaned in tiles: a tile that begins at multiples of `stride` and is cut with `reach` pixels
    more to each side (where the picture has them) gives the same pixels as the whole picture. `largest` is the
    strongest noise that the model was trained on, on the [0, 1] scale.
    """

    reach: int
    stride: int
    largest: float

    def denoise(self, y: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """As `Denoises`; `sigma` may be [N] or a map [N, 1, H, W] as well."""
        ...

    def noise(self, y: Tensor) -> Tensor:
        """Estimated sigma of each block of `stride` x `stride` pixels: [N, C, H, W] -> [N, 1, ⌈H/stride⌉, ⌈W/stride⌉].

        Estimates of single blocks are rough: average their squares over the region in which the noise is alike.
        """
        ...


@runtime_checkable
class Completes(Model, Protocol):
    """Fills in what is missing."""

    def complete(self, x: Tensor, known: Tensor, rng: torch.Generator) -> Tensor:
        """One completion of each x; `known` is bool [N, 1, H, W], and known pixels come back bit for bit."""
        ...


@dataclass(frozen=True)
class Latents:
    """Integers that a codec writes, in `blocks` of int32 whose meaning the model knows, for images of `shape`."""

    blocks: tuple[Tensor, ...]
    shape: tuple[int, int, int, int]


class Tables(Protocol):
    """Integer frequency tables: cumulative int32 [T, S + 1] that rise from 0 to 2^precision."""

    cumulative: Tensor
    precision: int


class Sink(Protocol):
    """Where a model puts symbols: the encoding end of an entropy coder."""

    def put(self, symbols: Tensor, index: Tensor, tables: Tables) -> None:
        """Code int32 symbols [M] (0 … S-1), each with the table of its index [M]."""
        ...


class Source(Protocol):
    """Where a model gets symbols back, in the order in which they were put."""

    def get(self, index: Tensor, tables: Tables) -> Tensor:
        """Decode as many symbols as `index` has entries: int32 [M]."""
        ...


@runtime_checkable
class Codes(Model, Protocol):
    """Turns images into integers and drives an entropy coder with them.

    Tiles are disjoint blocks of one grid of latents at 1/`stride` of the image; the synthesis of a block sees `halo`
    neighbours, so tiles leave no seam. `exact`: decoding gives the same pixels on every machine. `rates` is the
    number of rate levels, 0 being the smallest file.
    """

    stride: int
    halo: int
    exact: bool
    lossless: bool
    rates: int

    def analyse(self, x: Tensor, rate: int) -> Latents:
        """Images -> integers, at rate level `rate`."""
        ...

    def write(self, latents: Latents, sink: Sink, rate: int) -> None:
        """Put all integers of `latents`."""
        ...

    def read(self, source: Source, shape: tuple[int, int, int, int], rate: int) -> Latents:
        """Get back what `write` put, for images of `shape` [N, C, H, W]."""
        ...

    def synthesise(self, latents: Latents, rate: int) -> Tensor:
        """Integers -> images [N, C, H, W]."""
        ...


@runtime_checkable
class CodesTiles(Codes, Protocol):
    """A codec of pictures of any size, tile by tile, without seams.

    Its integers stand for a grid with a place for each `place` x `place` pixels. A tile begins at multiples of `stride`
    pixels. Its grid is the part of the transform of the picture cut with at least `sees` pixels more to each side
    (rounded up to `stride`); its integers are written and read knowing nothing of other tiles; its pixels are the
    part of the synthesis of the grid cut with `halo` · `stride` pixels more to each side, from the neighbouring tiles.
    `decoder` is the module that reading and synthesis depend on; the hash of its weights ties a file to it.
    """

    place: int
    sees: int

    @property
    def decoder(self) -> object:
        """What decides how a file is decoded."""
        ...

    def transform(self, x: Tensor) -> Tensor:
        """Images, sides multiples of `stride` -> real numbers [N, U, H/place, W/place]."""
        ...

    def refine(
        self, grid: Tensor, x: Tensor, rate: int, steps: int, *, tell: Callable[[int, int], None] | None = None
    ) -> Tensor:
        """Numbers like those of the transform that cost less at this rate, or show more of `x`, by a search."""
        ...

    def settle(self, grid: Tensor, rate: int) -> Latents:
        """Real numbers of a tile -> its integers."""
        ...

    def arrived(self, latents: Latents) -> Tensor:
        """The grid that the integers of a tile stand for, whole numbers [N, U, h, w]."""
        ...

    def picture(self, grid: Tensor) -> Tensor:
        """The grid, of one tile or of several joined -> images [N, C, place · h, place · w]."""
        ...


@runtime_checkable
class Calibrates(Model, Protocol):
    """Has something to fit to the training images once its weights are final (code statistics, entropy tables)."""

    def calibrate(self, batches: Sequence[Tensor]) -> None:
        """Fit it, from batches of training images [N, C, H, W] that may be gone through more than once."""
        ...


@runtime_checkable
class Converts(Model, Protocol):
    """Can begin with weights of a model like it that is for other images, or smaller."""

    def converted(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights by name, of such a model or of one of its own kind, as this model's."""
        ...


@runtime_checkable
class Starts(Model, Protocol):
    """Has something to take from the training images before the first step (a transform to begin with)."""

    def start(self, batches: Iterable[Tensor]) -> None:
        """Take it, from batches of training images [N, C, H, W]."""
        ...


@runtime_checkable
class Classifies(Model, Protocol):
    """Tells which class an image is of, by features that distances between sets of images are measured in.

    `measure` is what the Fréchet distance in these features is called: "FD-mnist-v1".
    """

    measure: str

    def features(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, F], each of mean 0 and variance 1 over the training images."""
        ...

    def classify(self, x: Tensor) -> Tensor:
        """Log-probabilities of the classes: [N, C, H, W] -> [N, K]."""
        ...


PROMISES: tuple[type, ...] = (
    Decodes,
    Encodes,
    LatentVariable,
    Scores,
    Samples,
    Denoises,
    DenoisesLocally,
    Completes,
    Codes,
    CodesTiles,
    Classifies,
)

P = TypeVar("P")


def kept(model: object) -> list[str]:
    """Names of the promises that a model keeps, in the order of `PROMISES`."""
    return [promise.__name__ for promise in PROMISES if isinstance(model, promise)]


def require(model: Any, promise: type[P], *, name: str = "this model") -> P:
    """Return `model`, typed as `promise`.

    Raises:
        CapabilityError: the model does not keep the promise; the message names embedded models that do.
    """
    if isinstance(model, promise):
        return model
    raise CapabilityError(f"{name} does not keep the promise {promise.__name__}{keepers(promise)}")


def keepers(*promises: type) -> str:
    """The end of an error's message: embedded models that keep at least one of the promises."""
    names = {promise.__name__ for promise in promises}
    found = [card.parent.name for card in _cards() if names & set(json.loads(card.read_text())["promises"])]
    return f"; these do: {', '.join(found)}" if found else ""


def check_shape(x: Tensor, shape: Shape) -> None:
    """Refuse a batch of images [N, C, H, W] that a model of this shape does not take.

    Raises:
        DataError: with both shapes.
    """
    given = tuple(x.shape[1:])
    if len(given) != len(shape) or any(want not in (None, have) for want, have in zip(shape, given, strict=True)):
        raise DataError(f"images of shape {given}, but this model is for {tuple(shape)} (channels first)")


def space_of(model: Model) -> Space:
    """What a model's likelihood is over, by its `levels`."""
    spaces: dict[int | None, Space] = {2: "binary", 256: "8-bit", None: "continuous"}
    return spaces[model.levels]


def _cards() -> list[Path]:
    return sorted((Path(__file__).parent / "embedded").glob("*/card.json"))
