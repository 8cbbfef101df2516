"""The photo codec: a VAE whose latents are integers, trained for rate and distortion at all rates at once.

    x ──► analysis ──► y ──► · gain(level) ──► round ──► entropy coder, with means and scales from z and earlier slices
                       └─► hyper-analysis ──► z ──► round ──► entropy coder, with tables of the level
    x ◄── synthesis ◄── / gain(level) ◄── integers and their means

The rate is the negative logarithm of the probabilities of y and z, the distortion the squared error: added, they are
the negative ELBO of a VAE whose posterior is uniform over a cell of quantisation and whose pixels are Gaussian. A
quality level chooses the gains, finer or coarser cells, and every network that both ends share is told it.

References: Ballé et al. 2018, Variational image compression with a scale hyperprior; Minnen et al. 2018 (means);
Minnen & Singh 2020, Channel-wise autoregressive entropy models (slices, straight-through rounding); Cui et al. 2021,
Asymmetric gained deep image compression (gains, interpolated in the exponent).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from imprior.distributions.quantised import LogisticTables, between, gaussian_bits, noisy, straight_through
from imprior.errors import RecipeError
from imprior.models.codec_files import STRIDE, CodesPhotographs
from imprior.models.codec_whole import Way, WholeHalf
from imprior.nn.block_transform import BLOCK, Analysis, Synthesis, Transforms, principal_blocks
from imprior.nn.convolutional import Pad, convolution, doubling
from imprior.promises import Shape, check_shape
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
        lowest, highest: weights of the distortion (mean squared error on the 8-bit scale, rate in bits a pixel) at the
            first and the last level.
    """

    shape: tuple[int, int, int] = (0, 0, 0)
    transforms: Transforms = field(default_factory=Transforms)
    hyper: int = 192
    side: int = 96
    slices: tuple[int, ...] = (16, 48, 96, 160)
    context: int = 128
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


class PhotoCodec(CodesPhotographs):
    """Keeps CodesTiles (after training) and Calibrates; trained in floating point, decoded in whole numbers."""

    levels: int | None = 256
    classes: int | None = None
    anchors = LEVELS
    basis: Tensor
    spread: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, self.slices = config, config.slices
        channels, units, hyper = config.shape[0], config.transforms.units, config.hyper
        self.shape: Shape = (channels, None, None)
        self.register_buffer("basis", torch.eye(units, channels * BLOCK**2))
        self.register_buffer("spread", torch.ones(units))
        self.pad = Pad(STRIDE)
        self.analysis = Analysis(config.transforms, channels)
        self.synthesis = Synthesis(config.transforms, channels)
        # The step of each level is what theory gives for its weight, at high rates: D' = -λ R'.
        step = 0.02 / self.weight(torch.arange(float(LEVELS))).sqrt()
        self.log_gain = nn.Parameter(-step.log()[:, None].repeat(1, units))
        self.side = LogisticTables(config.side, LEVELS)
        self.to_side = nn.Sequential(
            convolution(units + 1, hyper, 1, gain=2**0.5),
            nn.ReLU(),
            convolution(hyper, hyper, 2, stride=2, gain=2**0.5),
            nn.ReLU(),
            convolution(hyper, hyper, 3, gain=2**0.5),
            nn.ReLU(),
            convolution(hyper, config.side, 2, stride=2),
        )
        self.from_side = nn.Sequential(
            convolution(config.side, hyper, 3, gain=2**0.5),
            nn.ReLU(),
            doubling(hyper, hyper, gain=2**0.5),
            nn.ReLU(),
            convolution(hyper, hyper, 3, gain=2**0.5),
            nn.ReLU(),
            doubling(hyper, hyper, gain=2**0.5),
            nn.ReLU(),
        )
        before = [sum(config.slices[:i]) for i in range(len(config.slices))]
        self.contexts = nn.ModuleList(
            nn.Sequential(
                convolution(hyper + known + 1, config.context, 1, gain=2**0.5),
                nn.ReLU(),
                convolution(config.context, config.context, 3, gain=2**0.5),
                nn.ReLU(),
                convolution(config.context, 2 * own, 1, gain=0.0),
            )
            for known, own in zip(before, config.slices, strict=True)
        )
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

    def start(self, batches: Iterable[Tensor]) -> None:
        """Begin with the Karhunen-Loève transform of training images [N, C, H, W] in [0, 1]."""
        basis, spread = principal_blocks((x - 0.5 for x in batches), self.config.transforms.units)
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

    def _way(self, x: Tensor, level: Tensor, rng: torch.Generator | None) -> Way:
        check_shape(x, self.shape)
        return self.through(self.analysis(self.pad(x) - 0.5, self.basis, self.spread).float(), level, rng)

    def through(self, n: Tensor, level: Tensor, rng: torch.Generator | None) -> Way:
        """Coefficients [N, U, h, w], in units of spreads, through rounding and what is expected of them."""
        unit = between(self.log_gain, level).exp()[..., None, None] * self.spread.view(-1, 1, 1)  # spreads in cells
        told = (level / (LEVELS - 1)).view(-1, 1, 1, 1).expand(len(n), 1, *n.shape[2:])
        z = self.to_side(torch.cat([n, told], 1)).float()
        side_bits = self.side.bits(noisy(z, rng), level).sum((1, 2, 3))
        side = straight_through(z)
        known, inputs, bits, place = [told, self.from_side(side)], [], side_bits, 0
        for own, context in zip(self.slices, self.contexts, strict=True):
            here = slice(place, place + own)
            inputs.append(torch.cat(known, 1))
            mean, log_scale = context(inputs[-1]).float().chunk(2, 1)
            residual = (n[:, here] - mean) * unit[:, here]
            scale = log_scale.clamp(-12, 6).exp() * unit[:, here]
            bits = bits + gaussian_bits(noisy(residual, rng), scale).sum((1, 2, 3))
            known.append(straight_through(residual) / unit[:, here] + mean)
            place += own
        return Way(bits, side_bits, side, inputs, torch.cat(known[2:], 1))

    def calibrate(self, batches: Sequence[Tensor]) -> None:
        """Make the whole-number half of the trained weights, from training images [N, C, H, W] that show their use."""
        rng = generator(0, "calibrate")
        with torch.no_grad():
            seen = [self._way(x, (LEVELS - 1) * torch.rand(len(x), generator=rng), None) for x in batches[:CALIBRATION]]
        self.whole.adopt(self, seen)
