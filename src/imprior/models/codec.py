"""The photo codec: a VAE whose latents are integers, trained for rate and distortion at all rates at once.

    x ──► analysis ──► y ──► · gain(level) ──► round ──► entropy coder, with means and scales from z and earlier slices
                       └─► hyper-analysis ──► z ──► round ──► entropy coder, with tables of the level
    x ◄── synthesis ◄── / gain(level) ◄── integers and their means

The rate is the negative logarithm of the probabilities of y and z, the distortion the squared error: added, they are
the negative ELBO of a VAE whose posterior is uniform over a cell of quantisation and whose pixels are Gaussian
(models.codec_vae). A quality level chooses the gains, finer or coarser cells, and every network that both ends share is
told it.

References: Ballé et al. 2018, Variational image compression with a scale hyperprior; Minnen et al. 2018 (means);
Minnen & Singh 2020, Channel-wise autoregressive entropy models (slices, straight-through rounding); Cui et al. 2021,
Asymmetric gained deep image compression (gains, interpolated in the exponent).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from imprior.distributions.quantised import (
    LogisticTables,
    between,
    gaussian_bits,
    noisy,
    rounded_by_worth,
    straight_through,
)
from imprior.errors import RecipeError
from imprior.models.codec_files import CAUTION, STRIDE, CodesPhotographs
from imprior.models.codec_vae import Choose, ModelsPhotographs, gaussian_noise, logistic
from imprior.models.codec_whole import Way, WholeHalf
from imprior.nn.block_transform import BLOCK, Analysis, Synthesis, Transforms, cosine_blocks
from imprior.nn.convolutional import Pad, convolution, doubling
from imprior.promises import Shape
from imprior.randomness import generator

CALIBRATION = 4  # batches that tell how large activations become
LEVELS = 8  # anchors between which gains and tables are interpolated; quality goes from 0 to LEVELS - 1


@dataclass(frozen=True)
class Config:
    """Settings of a codec.

    Attributes:
        shape: (channels, height, width) of the training crops; zeros are filled in from the data.
        transforms: from images to y and back.
        hyper: channels of the networks between y and z.
        side: channels of z.
        slices: how many units of y are coded at a time, each slice knowing those before it.
        context: channels of the networks that give a slice its means and scales.
        slope: of all activations below zero; 0 is a plain ReLU, else a power of two (for the sake of whole numbers).
        lowest, highest: weights of the distortion (mean squared error on the 8-bit scale, rate in bits a pixel) at the
            first and the last level.
    """

    shape: tuple[int, int, int] = (0, 0, 0)
    transforms: Transforms = field(default_factory=Transforms)
    hyper: int = 192
    side: int = 96
    slices: tuple[int, ...] = (16, 48, 128, 256)
    context: int = 128
    slope: float = 0.0
    lowest: float = 0.0016
    highest: float = 0.13

    def __post_init__(self) -> None:
        if sum(self.slices) != self.transforms.units:
            raise RecipeError(f"slices {self.slices} are {sum(self.slices)} units, not {self.transforms.units}")
        if min(self.hyper, self.side, self.context, *self.slices) < 1:
            raise RecipeError("hyper, side, context and slices are at least 1")
        if not 0 < self.lowest < self.highest:
            raise RecipeError(f"0 < lowest < highest, not {self.lowest} and {self.highest}")

    def build(self) -> PhotoCodec:
        """The model, with fresh weights."""
        return PhotoCodec(self)


@dataclass(frozen=True)
class Transmission:
    """What became of images on their way through the codec.

    Attributes:
        bits: [N], as an ideal entropy coder would write them.
        side_bits: [N], how many of these are z's.
        x: [N, C, H, W], what arrives, not clipped.
    """

    bits: Tensor
    side_bits: Tensor
    x: Tensor


class PhotoCodec(CodesPhotographs, ModelsPhotographs):
    """Keeps Encodes, Scores, Samples, CodesTiles (after training), Calibrates and Converts.

    Trained in floating point, which is what draws and scores; files are decoded in whole numbers.
    """

    levels: int | None = 256
    classes: int | None = None
    anchors = LEVELS
    # The whole-number half says what these are, once it is made: a file of weights can do without them.
    implied = ("from_side.", "contexts.", "synthesis.")
    basis: Tensor
    spread: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, self.slices, self.slope = config, config.slices, config.slope
        channels, units, hyper = config.shape[0], config.transforms.units, config.hyper
        self.shape: Shape = (channels, None, None)
        self.crop = config.shape[1:]
        self.register_buffer("basis", torch.eye(units, channels * BLOCK**2))
        self.register_buffer("spread", torch.ones(units))
        self.pad = Pad(STRIDE)
        self.analysis = Analysis(config.transforms, channels, config.slope)
        self.synthesis = Synthesis(config.transforms, channels, config.slope)
        # The step of each level is what theory gives for its weight, at high rates: D' = -λ R'.
        step = 0.02 / self.weight(torch.arange(float(LEVELS))).sqrt()
        self.log_gain = nn.Parameter(-step.log()[:, None].repeat(1, units))
        self.side = LogisticTables(config.side, LEVELS)
        self.to_side = nn.Sequential(
            convolution(units + 1, hyper, 1, gain=2**0.5),
            nn.LeakyReLU(config.slope),
            convolution(hyper, hyper, 2, stride=2, gain=2**0.5),
            nn.LeakyReLU(config.slope),
            convolution(hyper, hyper, 3, gain=2**0.5),
            nn.LeakyReLU(config.slope),
            convolution(hyper, config.side, 2, stride=2),
        )
        self.from_side = nn.Sequential(
            convolution(config.side, hyper, 3, gain=2**0.5),
            nn.LeakyReLU(config.slope),
            doubling(hyper, hyper, gain=2**0.5),
            nn.LeakyReLU(config.slope),
            convolution(hyper, hyper, 3, gain=2**0.5),
            nn.LeakyReLU(config.slope),
            doubling(hyper, hyper, gain=2**0.5),
            nn.LeakyReLU(config.slope),
        )
        before = [sum(config.slices[:i]) for i in range(len(config.slices))]
        self.contexts = nn.ModuleList(
            nn.Sequential(
                convolution(hyper + known + 1, config.context, 1, gain=2**0.5),
                nn.LeakyReLU(config.slope),
                convolution(config.context, config.context, 3, gain=2**0.5),
                nn.LeakyReLU(config.slope),
                convolution(config.context, 2 * own, 1, gain=0.0),
            )
            for known, own in zip(before, config.slices, strict=True)
        )
        # Until calibration finds what fits: the noise that the weight of the last level stands for.
        self.register_buffer("log_noise", torch.tensor(logistic(gaussian_noise(config.highest, channels))))
        self.whole = WholeHalf(self)
        self.sees = config.transforms.sees

    @property
    def decoder(self) -> WholeHalf:
        """What decides how a file is decoded."""
        return self.whole

    def weight(self, level: Tensor) -> Tensor:
        """Weight of the distortion at levels from 0 to LEVELS - 1: geometric between the lowest and the highest."""
        low, high = self.config.lowest, self.config.highest
        return low * (high / low) ** (level / (LEVELS - 1))

    def converted(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights of a codec whose activations may have another slope, for this one: where training may begin."""
        found = {name: weight for name, weight in weights.items() if name != "whole.bend"}
        return found if self.whole.bend is None else found | {"whole.bend": self.whole.bend}

    def start(self, batches: Iterable[Tensor]) -> None:
        """Begin with the cosine transform and the colours of training images [N, C, H, W] in [0, 1]."""
        basis, spread = cosine_blocks((x - 0.5 for x in batches), self.config.transforms.units)
        self.basis.copy_(basis)
        self.spread.copy_(spread)

    def transmit(self, x: Tensor, level: Tensor, rng: torch.Generator | None) -> Transmission:
        """Images through the codec.

        Args:
            x: [N, C, H, W] in [0, 1].
            level: [N], from 0 to LEVELS - 1.
            rng: of the noise that stands for rounding where the rate is computed, for training; None rounds, so the
                bits are those of a file.

        Raises:
            DataError: images of another number of channels than the model's.
        """
        height, width = x.shape[2:]
        way = self._way(x, level, rng)
        back = self.synthesis(way.coefficients, self.basis, self.spread) + 0.5
        return Transmission(way.bits, way.side_bits, back[..., :height, :width])

    def transmit_settled(self, x: Tensor, level: Tensor) -> Transmission:
        """Images through the codec with integers as files have them, for what both ends share to learn from.

        Noise in place of rounding makes coefficients that are nearly always 0 seem to cost several times what they do.
        With integers rates are right, and tables, means and the synthesis learn what the encoder's choices look like.
        The encoder itself (analysis, hyper-analysis, gains) gets no gradient: rounding has none.

        Args:
            x, level: as in `transmit`.

        Reference:
            Guo et al. 2021, Soft then hard: rethinking the quantization in neural image compression.
        """
        height, width = x.shape[2:]
        with torch.no_grad():
            n = self.encode(x)
            side = self.side_of(n, level).round()
            worth = CAUTION * self.worth(level)  # [N, U]
        bits = [self.side.bits(side, level).sum((1, 2, 3))]

        def chosen(here: slice, mean: Tensor, scale: Tensor, unit: Tensor) -> Tensor:
            residual = (n[:, here] - mean) * unit
            k = rounded_by_worth(residual.detach(), scale.detach(), worth[:, here, None, None])
            # A better mean is nearer: to the rate the gradient goes straight through. What arrives has none by the
            # mean, since k makes up for it; with one, means that later means are made of get out of hand.
            k = residual + (k - residual).detach()
            bits.append(gaussian_bits(k, scale).sum((1, 2, 3)))
            return k

        _, coefficients = self.unfold(side, level, chosen, learn_gains=False)
        back = self.synthesis(coefficients, self.basis, self.spread) + 0.5
        return Transmission(torch.stack(bits).sum(0), bits[0], back[..., :height, :width])

    def worth(self, level: Tensor) -> Tensor:
        """Bits that the square of an error of a cell is worth at levels [N], for each unit: [N, U].

        That of an orthonormal synthesis, which a trained one nearly is.
        """
        cell = (-between(self.log_gain, level)).exp()
        return self.weight(level)[:, None] * 255**2 * cell.square() / (self.shape[0] or 1)

    def _way(self, x: Tensor, level: Tensor, rng: torch.Generator | None) -> Way:
        return self.through(self.encode(x), level, rng)

    def through(self, n: Tensor, level: Tensor, rng: torch.Generator | None) -> Way:
        """Coefficients [N, U, h, w], in units of spreads, through rounding and what is expected of them."""
        z = self.side_of(n, level)
        bits = [self.side.bits(noisy(z, rng), level).sum((1, 2, 3))]

        def rounded(here: slice, mean: Tensor, scale: Tensor, unit: Tensor) -> Tensor:
            residual = (n[:, here] - mean) * unit
            bits.append(gaussian_bits(noisy(residual, rng), scale).sum((1, 2, 3)))
            return straight_through(residual)

        side = straight_through(z)
        inputs, coefficients = self.unfold(side, level, rounded)
        return Way(torch.stack(bits).sum(0), bits[0], side, inputs, coefficients)

    def side_of(self, n: Tensor, level: Tensor) -> Tensor:
        """z of coefficients [N, U, h, w] at levels [N], not yet rounded: [N, side, h/4, w/4]."""
        return self.to_side(torch.cat([n, _plane(level / (LEVELS - 1), n)], 1)).to(n.dtype)  # type: ignore[no-any-return]

    def unfold(
        self, side: Tensor, level: Tensor, choose: Choose, *, learn_gains: bool = True
    ) -> tuple[list[Tensor], Tensor]:
        """Coefficients, slice by slice, each expected by z and the slices before it.

        Args:
            side: z, whole numbers [N, side, h/4, w/4].
            level: [N], from 0 to LEVELS - 1.
            choose: makes whole numbers [N, c, h, w] of a slice: of its place among the units, the means (in units of
                spreads) and scales (in cells) expected there, [N, c, h, w] both, and cells in a spread [N, c, 1, 1].
            learn_gains: whether the gains get a gradient.

        Returns:
            (what the context of each slice was given, coefficients [N, U, h, w] in units of spreads).
        """
        log_gain = self.log_gain if learn_gains else self.log_gain.detach()
        gain = between(log_gain, level).exp()[..., None, None] * self.spread.view(-1, 1, 1)
        features = self.from_side(side)
        known, inputs, place = [_plane(level / (LEVELS - 1), features), features], [], 0
        for own, context in zip(self.slices, self.contexts, strict=True):
            here = slice(place, place + own)
            inputs.append(torch.cat(known, 1))
            # The mean of a block lies up to a thousand cells away from 0: bfloat16 would be off by several.
            with torch.autocast(side.device.type, enabled=False):
                mean, log_scale = context(inputs[-1].to(side.dtype)).chunk(2, 1)
            unit = gain[:, here]
            scale = log_scale.clamp(-12, 6).exp() * unit
            known.append(choose(here, mean, scale, unit) / unit + mean)
            place += own
        return inputs, torch.cat(known[2:], 1)

    def calibrate(self, batches: Sequence[Tensor]) -> None:
        """Make the whole-number half of the trained weights, and find the pixels' noise.

        Args:
            batches: training images [N, C, H, W], which show what the networks see, and how well they do.
        """
        rng = generator(0, "calibrate")
        with torch.no_grad():
            seen = [self._way(x, (LEVELS - 1) * torch.rand(len(x), generator=rng), None) for x in batches[:CALIBRATION]]
        self.whole.adopt(self, seen)
        self.fit_noise(batches[:CALIBRATION])

    def imply(self) -> None:
        """Take `implied` from the whole-number half."""
        self.whole.give(self)


def _plane(value: Tensor, like: Tensor) -> Tensor:
    """Numbers [N] as a channel [N, 1, h, w] of grids like these."""
    return value.view(-1, 1, 1, 1).expand(len(like), 1, *like.shape[2:])
