"""A transform of images into coefficients at 1/16 of their size, and back: a linear one, and what convolutions add.

    x ──┬─► 16x16 blocks ──► linear ──► / spread ──────────────┐
        └─► space to depth 8 ──► stage at 1/8 ──► at 1/16 ──► + ──► n         [N,C,H,W] → [N,U,H/16,W/16]
    n ──┬─► · spread ──► linear ──► 16x16 blocks ─────────────────────────┐
        └─► stage at 1/16 ──► at 1/8 ──► at 1/4 ──► depth to space 4 ──► + ──► x

The linear part begins as the cosine transform of blocks in the training images' principal colours. The Karhunen-Loève
transform of whole blocks has the larger variances first, as theory wants it for Gaussian pictures; but where variances
are nearly equal its vectors are mixtures that look like noise, pictures are no more Gaussian, and few large cosine
coefficients describe an edge better. The convolutions begin at zero and learn what
it misses: edges, textures, what goes across blocks. Their inputs and outputs are in units of each
coefficient's spread. The linear part learns at a tenth of the rate of the rest.

References: Ahmed, Natarajan & Rao 1974, Discrete cosine transform; Goyal 2001, Theoretical foundations of transform
coding; Ballé et al. 2021, Nonlinear transform coding.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imprior.errors import RecipeError
from imprior.nn.convolutional import convolution, doubling
from imprior.nn.unet import stage

BLOCK = 16
# How fast the linear parts learn beside the rest: Adam's steps don't depend on the size of a gradient, so a parameter
# that enters with this factor moves so much slower.
SLOW = 0.1


@dataclass(frozen=True)
class Transforms:
    """Settings of the two transforms.

    Attributes:
        units: coefficients of a place at 1/16 of the image's size.
        analysis: channels at 1/8 and 1/16, on the way there.
        analysis_blocks: residual blocks at each.
        synthesis: channels at 1/16, 1/8 and 1/4, on the way back.
        synthesis_blocks: residual blocks at each.
    """

    units: int = 448
    analysis: tuple[int, int] = (128, 192)
    analysis_blocks: tuple[int, int] = (3, 2)
    synthesis: tuple[int, int, int] = (192, 128, 48)
    synthesis_blocks: tuple[int, int, int] = (2, 2, 2)

    def __post_init__(self) -> None:
        if min(self.units, *self.analysis, *self.synthesis) < 1:
            raise RecipeError("units and channels of a codec are at least 1")
        if min(*self.analysis_blocks, *self.synthesis_blocks) < 0:
            raise RecipeError("a codec can't have fewer than 0 residual blocks")

    @property
    def sees(self) -> int:
        """How many pixels beyond its own block a coefficient depends on, at most."""
        fine, coarse = self.analysis_blocks
        return 8 * (1 + 2 * fine) + BLOCK * 2 * coarse


class Analysis(nn.Module):
    """Images [N, C, H, W], H and W multiples of 16 -> coefficients [N, U, H/16, W/16], in units of their spread."""

    def __init__(self, settings: Transforms, channels: int, slope: float) -> None:
        super().__init__()
        fine, coarse = settings.analysis
        self.change = nn.Parameter(torch.zeros(settings.units, channels * BLOCK**2, 1, 1))
        self.deep = nn.Sequential(
            nn.PixelUnshuffle(8),
            convolution(channels * 64, fine, 3, gain=2**0.5),
            *stage(fine, settings.analysis_blocks[0], slope),
            convolution(fine, coarse, 2, stride=2),
            *stage(coarse, settings.analysis_blocks[1], slope),
            convolution(coarse, settings.units, 1, gain=0.0),
        )

    def forward(self, x: Tensor, basis: Tensor, spread: Tensor) -> Tensor:
        """See the class; `basis` [U, C·256] and `spread` [U] are those of `cosine_blocks`."""
        linear = _linear(F.pixel_unshuffle(x, BLOCK), basis.view_as(self.change) + SLOW * self.change)
        return linear / spread.view(-1, 1, 1) + self.deep(x)  # type: ignore[no-any-return]


class Synthesis(nn.Module):
    """Coefficients [N, U, h, w] in units of their spread -> images [N, C, 16·h, 16·w]."""

    def __init__(self, settings: Transforms, channels: int, slope: float) -> None:
        super().__init__()
        coarse, middle, fine = settings.synthesis
        blocks = settings.synthesis_blocks
        self.change = nn.Parameter(torch.zeros(channels * BLOCK**2, settings.units, 1, 1))
        self.deep = nn.Sequential(
            convolution(settings.units, coarse, 1),
            *stage(coarse, blocks[0], slope),
            doubling(coarse, middle),
            *stage(middle, blocks[1], slope),
            doubling(middle, fine),
            *stage(fine, blocks[2], slope),
            convolution(fine, channels * 16, 3, gain=0.0),
            nn.PixelShuffle(4),
        )

    def weight(self, basis: Tensor) -> Tensor:
        """Of the linear part, [C·256, U, 1, 1], for coefficients in their own units."""
        return basis.t().reshape_as(self.change) + SLOW * self.change

    def become(self, weight: Tensor, basis: Tensor) -> None:
        """Have this weight [C·256, U] of the linear part."""
        self.change.copy_(((weight - basis.t()) / SLOW).view_as(self.change))

    def forward(self, n: Tensor, basis: Tensor, spread: Tensor) -> Tensor:
        """See the class; `basis` and `spread` as in the analysis."""
        linear = _linear(n * spread.view(-1, 1, 1), self.weight(basis))
        return F.pixel_shuffle(linear, BLOCK) + self.deep(n).to(n.dtype)  # type: ignore[no-any-return]


def _linear(x: Tensor, weight: Tensor) -> Tensor:
    # Eight binary digits are too few for the mean of a block, which may lie a thousand cells away from 0.
    with torch.autocast(x.device.type, enabled=False):
        return F.conv2d(x, weight)


def cosine_blocks(batches: Iterable[Tensor], units: int) -> tuple[Tensor, Tensor]:
    """The cosine transform (DCT-II) of 16x16 blocks in principal colours, the coefficients of largest variance first.

    Args:
        batches: images [N, C, H, W], centred about zero; what is left over of their sides is cut off.
        units: how many coefficients.

    Returns:
        (basis [U, C·256] of orthonormal rows, in the order of `pixel_unshuffle`; spread [U], root mean squares).
    """
    total: Tensor | None = None
    count = 0
    for x in batches:
        height, width = (side // BLOCK * BLOCK for side in x.shape[2:])
        blocks = F.pixel_unshuffle(x[..., :height, :width], BLOCK).movedim(1, -1).flatten(0, -2).double()
        moments = blocks.t() @ blocks
        total, count = moments if total is None else total + moments, count + len(blocks)
    assert total is not None, "no images"
    total = total / count
    pixels = BLOCK**2
    channels = len(total) // pixels
    of_colours = total.view(channels, pixels, channels, pixels).diagonal(dim1=1, dim2=3).mean(-1)
    vectors = torch.linalg.eigh(of_colours)[1].flip(1).t()
    # A colour and its negative serve alike; fixed, so that the same images give the same model everywhere.
    colours = vectors * vectors.gather(1, vectors.abs().argmax(1, keepdim=True)).sign()
    at = torch.arange(BLOCK, dtype=torch.double)
    cosines = (2 / BLOCK) ** 0.5 * torch.cos(math.pi / BLOCK * (at + 0.5) * at[:, None])
    cosines[0] /= 2**0.5
    basis = torch.kron(colours, torch.kron(cosines, cosines))
    variances = ((basis @ total) * basis).sum(1)
    order = variances.argsort(descending=True, stable=True)[:units]
    return basis[order].float(), variances[order].clamp_min(1e-8).sqrt().float()
