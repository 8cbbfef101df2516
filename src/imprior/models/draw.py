"""DRAW: a variational autoencoder whose encoder and decoder are recurrent and paint an image in several turns.

        ┌──────────────── T turns ────────────────┐
    x ──► read ──► encoder LSTM ──► q(z_t | x, z_<t) ──► z_t ──► decoder LSTM ──► + write ──► canvas ──► p(x | z)
    error ──┘ ▲                                                  │    │             ▲         │
      ▲       └──────────────── where to look ───────────────────┘    └─ where to ──┘         │
      └────────────────────────── x - mean image of the canvas so far ────────────────────────┘

At each turn the encoder sees what is still missing on the canvas, and what the decoder is about; so a latent says what
to add, not everything at once. Reading and writing go through a small grid of Gaussian filters (a glimpse) whose place,
stride and sharpness the decoder chooses, or see and paint the whole image. A code is z = (z_1, …, z_T) as one vector,
N(0, 1) beforehand; its posterior is drawn turn by turn.

Reference: Gregor, Danihelka, Graves, Rezende & Wierstra 2015, DRAW: a recurrent neural network for image generation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from imprior.distributions.gaussian import DiagonalGaussian, kl
from imprior.errors import RecipeError
from imprior.models.latent import LatentModel, check_range
from imprior.models.observations import AnyLikelihood, Bernoulli
from imprior.nn.dense import linear
from imprior.promises import Distribution, check_shape

Memory = tuple[Tensor, Tensor]  # an LSTM's output and cell, [N, hidden] each


@dataclass(frozen=True)
class Config:
    """Settings of DRAW.

    Attributes:
        shape: (channels, height, width) of the images; zeros are filled in from the data.
        turns: how often it looks and paints.
        latent: latent numbers of each turn.
        hidden: units of encoder and decoder.
        read: side, in filters, of the glimpse that the encoder is given; 0 gives it the whole image.
        write: side of what the decoder paints at a turn; 0 lets it paint the whole canvas.
        likelihood: p(x | z); it decides what the model's scores are over (binary, 8-bit or continuous images).
        log_variance: the posterior's log-variances are kept in this range.
    """

    shape: tuple[int, int, int] = (0, 0, 0)
    turns: int = 12
    latent: int = 12
    hidden: int = 256
    read: int = 5
    write: int = 5
    likelihood: AnyLikelihood = field(default_factory=Bernoulli)
    log_variance: tuple[float, float] = (-7.0, 2.0)

    def __post_init__(self) -> None:
        if min(self.turns, self.latent, self.hidden) < 1:
            raise RecipeError("turns, latent and hidden must be at least 1")
        if any(side < 0 or side == 1 for side in (self.read, self.write)):
            raise RecipeError(f"read and write are sides of at least 2, or 0 for the whole: {self.read}, {self.write}")
        check_range(self.log_variance)

    def build(self) -> Draw:
        """The model, with fresh weights."""
        return Draw(self)


class Draw(LatentModel):
    """Keeps LatentVariable, Scores, Samples, Denoises, Codes and Calibrates."""

    def __init__(self, config: Config) -> None:
        super().__init__(config.shape, config.likelihood)
        self.config = config
        channels, height, width = config.shape
        painted, hidden = (config.likelihood.channels(channels), height, width), config.hidden
        self.reader = ReadGlimpse(config.shape, config.read, hidden) if config.read else ReadAll(config.shape)
        self.writer = WriteGlimpse(painted, config.write, hidden) if config.write else WriteAll(painted, hidden)
        self.encoder = cell(self.reader.outputs + hidden, hidden)
        self.moments = linear(hidden, 2 * config.latent)
        self.decoder = cell(config.latent, hidden)
        self.begin_encoder = nn.Parameter(torch.zeros(2, hidden))
        self.begin_decoder = nn.Parameter(torch.zeros(2, hidden))
        self.canvas = nn.Parameter(torch.zeros(painted))  # what there is before the first turn

    def posterior(self, x: Tensor) -> TurnByTurn:
        """q(z | x): [N, C, H, W] -> a batch of N distributions over codes [turns·latent].

        Raises:
            DataError: images of another shape than the model's.
        """
        check_shape(x, self.shape)
        return TurnByTurn(self, x)

    def prior(self) -> DiagonalGaussian:
        """p(z): N(0, 1)."""
        like = self.canvas
        return DiagonalGaussian.standard(
            (self.config.turns * self.config.latent,), device=like.device, dtype=like.dtype
        )

    def likelihood(self, z: Tensor) -> Distribution:
        """p(x | z) for z [N, turns·latent]: a batch of N distributions over images."""
        memory, canvas = self.begin(len(z))
        for part in torch.split(z, self.config.latent, 1):
            memory, canvas = self.paint(part, memory, canvas)
        return self.observation(canvas)  # type: ignore[no-any-return]

    def begin(self, n: int) -> tuple[Memory, Tensor]:
        """The decoder's memory and the canvas before the first turn, for n images."""
        return _repeated(self.begin_decoder, n), self.canvas.expand(n, *self.canvas.shape)

    def paint(self, z: Tensor, memory: Memory, canvas: Tensor) -> tuple[Memory, Tensor]:
        """One turn of the decoder, given its latents [N, latent]: its memory and the canvas after it."""
        memory = self.decoder(z, memory)
        return memory, canvas + self.writer(memory[0])

    def look(self, x: Tensor, canvas: Tensor, encoder: Memory, decoder: Memory) -> tuple[Memory, DiagonalGaussian]:
        """One turn of the encoder: its memory after it, and q(z_t | x, z_<t)."""
        error = x - self.observation(canvas).mean
        seen = self.reader(torch.cat((x, error), 1), decoder[0])
        encoder = self.encoder(torch.cat((seen, decoder[0].to(seen.dtype)), 1), encoder)
        mean, log_variance = self.moments(encoder[0]).to(x.dtype).chunk(2, 1)
        return encoder, DiagonalGaussian(mean, log_variance.clamp(*self.config.log_variance))


class TurnByTurn:
    """q(z | x) = Π_t q(z_t | x, z_<t) of a batch of images [N, C, H, W]: Gaussian at each turn, given those before."""

    def __init__(self, model: Draw, x: Tensor) -> None:
        self.model = model
        self.x = x
        self._drawn: tuple[Tensor, list[DiagonalGaussian], bool] | None = None

    def __getitem__(self, images: slice) -> TurnByTurn:
        """The entries `images` of the batch."""
        return TurnByTurn(self.model, self.x[images])

    @property
    def mean(self) -> Tensor:
        """Each turn's mean given the means before it, [N, D]: the middle of q, and an image's code."""
        return self._run(1, lambda turn, q: q.mean)[0][0]

    def sample(self, n: int, rng: torch.Generator | None) -> Tensor:
        """[n, N, D], differentiable."""
        z, found = self._run(n, lambda turn, q: q.sample(1, rng)[0])
        # What follows a draw is its density: the same turns once more, were they not kept. Only for this very tensor.
        self._drawn = (z, found, torch.is_grad_enabled())
        return z

    def log_prob(self, value: Tensor) -> Tensor:
        """[..., N] nats, for value [..., N, D]."""
        parts = self._parts(value)
        found = self._conditionals(value)
        return torch.stack([q.log_prob(z) for z, q in zip(parts, found, strict=True)]).sum(0).view(value.shape[:-1])

    def kl_steps(self, value: Tensor, prior: DiagonalGaussian) -> Tensor:
        """KL of each turn given the turns before it in `value`, in closed form: [..., N, D] -> [..., N, turns]."""
        mean, log_variance = (self._parts(moment) for moment in (prior.mean, prior.log_variance))
        steps = [
            kl(q, DiagonalGaussian(m, v)).sum(-1)
            for q, m, v in zip(self._conditionals(value), mean, log_variance, strict=True)
        ]
        return torch.stack(steps, -1).view(*value.shape[:-1], -1)

    def _parts(self, value: Tensor) -> tuple[Tensor, ...]:
        """[..., D] -> for each turn [M, latent]."""
        return torch.split(value.reshape(-1, value.shape[-1]), self.model.config.latent, 1)

    def _conditionals(self, value: Tensor) -> list[DiagonalGaussian]:
        """q(z_t | x, z_<t) of each turn, with z_<t from value [..., N, D]: batches of all its codes."""
        if self._drawn is not None and self._drawn[0] is value and self._drawn[2] == torch.is_grad_enabled():
            return self._drawn[1]
        parts = self._parts(value)
        return self._run(len(parts[0]) // max(1, len(self.x)), lambda turn, q: parts[turn])[1]

    def _run(self, n: int, pick: Callable[[int, DiagonalGaussian], Tensor]) -> tuple[Tensor, list[DiagonalGaussian]]:
        """All turns for n codes of each image, z_t = pick(t, q_t): codes [n, N, D], and each turn's q of all n·N."""
        x = self.x.expand(n, *self.x.shape).flatten(0, 1)
        encoder = _repeated(self.model.begin_encoder, len(x))
        decoder, canvas = self.model.begin(len(x))
        codes: list[Tensor] = []
        found: list[DiagonalGaussian] = []
        for turn in range(self.model.config.turns):
            if turn > 0:
                decoder, canvas = self.model.paint(codes[-1], decoder, canvas)
            encoder, q = self.model.look(x, canvas, encoder, decoder)
            found.append(q)
            codes.append(pick(turn, q))
        return torch.cat(codes, 1).view(n, len(self.x), self.model.prior().mean.numel()), found


class ReadAll(nn.Module):
    """The whole image and its error, flat: [N, 2·C, H, W] -> [N, outputs]."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, height, width = shape
        self.outputs = 2 * channels * height * width

    def forward(self, h: Tensor, decoder: Tensor) -> Tensor:
        """`decoder` has no say here."""
        return h.flatten(1)


class WriteAll(nn.Module):
    """What is added to the canvas: [N, hidden] -> [N, P, H, W]."""

    def __init__(self, painted: tuple[int, int, int], hidden: int) -> None:
        super().__init__()
        channels, height, width = painted
        self.pixels = linear(hidden, channels * height * width, 0.1)
        self.painted = painted

    def forward(self, decoder: Tensor) -> Tensor:
        """All pixels at once."""
        return self.pixels(decoder).unflatten(1, self.painted)  # type: ignore[no-any-return]


class ReadGlimpse(nn.Module):
    """The image and its error through a grid of filters: [N, 2·C, H, W] -> [N, outputs]."""

    def __init__(self, shape: tuple[int, int, int], side: int, hidden: int) -> None:
        super().__init__()
        self.glimpse = Glimpse(shape[1:], side, hidden)
        self.outputs = 2 * shape[0] * side**2

    def forward(self, h: Tensor, decoder: Tensor) -> Tensor:
        """What is seen where the decoder's output [N, hidden] looks."""
        vertical, horizontal, _, intensity = self.glimpse(decoder)
        with torch.autocast(h.device.type, enabled=False):  # [N,1,side,H] [N,2C,H,W] [N,1,W,side]
            seen: Tensor = intensity * (vertical @ h @ horizontal.mT)
            return seen.flatten(1)


class WriteGlimpse(nn.Module):
    """A small picture, put on the canvas through a grid of filters: [N, hidden] -> [N, P, H, W]."""

    def __init__(self, painted: tuple[int, int, int], side: int, hidden: int) -> None:
        super().__init__()
        self.glimpse = Glimpse(painted[1:], side, hidden)
        self.picture = linear(hidden, painted[0] * side**2)
        self.grid = (painted[0], side, side)

    def forward(self, decoder: Tensor) -> Tensor:
        """What the decoder's output [N, hidden] paints, where it says."""
        vertical, horizontal, stride, intensity = self.glimpse(decoder)
        picture = self.picture(decoder).unflatten(1, self.grid).to(vertical.dtype)
        with torch.autocast(picture.device.type, enabled=False):  # [N,1,H,side] [N,P,side,side] [N,1,side,W]
            # Each filter spreads a value over about stride x stride pixels; the factor makes up for it.
            painted: Tensor = vertical.mT @ picture @ horizontal * (stride.square() / intensity)
            return painted


class Glimpse(nn.Module):
    """A square grid of Gaussian filters on an image, of a place, stride, width and intensity that are computed.

    Filter i of a side is exp(-(a - μ_i)² / 2σ²) over the pixels a, divided by its sum (equations 19 to 26). Divided
    by a softmax, a filter that lies beyond the edge sees the pixels at the edge, where the quotient would be 0 / 0.
    σ is given in units of half the stride, so that a grid begins without gaps and stays so when it grows.
    """

    def __init__(self, size: tuple[int, int], side: int, hidden: int) -> None:
        super().__init__()
        self.size, self.side = size, side
        self.parameters_of = linear(hidden, 5, 0.1)

    def forward(self, decoder: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """[N, hidden] -> filters [N, 1, side, H] and [N, 1, side, W], stride and intensity [N, 1, 1, 1]."""
        with torch.autocast(decoder.device.type, enabled=False):  # a place must not be rounded to 8 bits
            raw = self.parameters_of(decoder.to(self.parameters_of.weight.dtype))
        centre_y, centre_x, log_width, log_stride, log_intensity = raw[:, :, None, None, None].unbind(1)
        # At zero the grid covers the whole image.
        stride = log_stride.exp() * (max(self.size) - 1) / (self.side - 1)
        sigma = log_width.exp() * stride / 2
        offsets = torch.arange(self.side, device=raw.device, dtype=raw.dtype)[:, None] - (self.side - 1) / 2
        filters = []
        for centre, pixels in zip((centre_y, centre_x), self.size, strict=True):
            place = (pixels - 1) / 2 + centre * (pixels + 1) / 2 + offsets * stride  # [N, 1, side, 1]
            distance = torch.arange(pixels, device=raw.device, dtype=raw.dtype) - place  # [N, 1, side, pixels]
            filters.append((-0.5 * (distance / sigma).square()).softmax(-1))
        return filters[0], filters[1], stride, log_intensity.exp()


def cell(inputs: int, hidden: int) -> nn.LSTMCell:
    """A step of an LSTM that begins with inputs that count and with open forget gates.

    From torch's start (weights within 1 / sqrt(hidden), whatever the inputs) a dozen latents are hardly felt, and the
    posterior takes thousands of steps to say anything.
    """
    layer = nn.LSTMCell(inputs, hidden)
    with torch.no_grad():
        layer.weight_ih.normal_(std=inputs**-0.5)
        layer.bias_ih[hidden : 2 * hidden] = 1.0
    return layer


def _repeated(memory: Tensor, n: int) -> Memory:
    """[2, hidden] -> for n images."""
    return memory[0].expand(n, -1), memory[1].expand(n, -1)
