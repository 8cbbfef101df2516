"""Classical augmentation: images shifted, turned, scaled and bent a little, each by its own draws.

    x ──► where each pixel comes from (affine + smooth displacement) ──► bilinear interpolation      [N, C, H, W]

Reference: Simard, Steinkraus & Platt 2003, Best practices for convolutional neural networks applied to visual document
analysis (the elastic part; here the displacement is a coarse field, interpolated).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from imprior.errors import RecipeError

COARSE = 4  # the displacement is drawn on a grid of 4 x 4 and interpolated in between


@dataclass(frozen=True)
class Warp:
    """How far images are moved, at the most; each image's amounts are uniform between minus and plus that.

    Attributes:
        shift: pixels, across and down.
        degrees: of a turn about the centre.
        scale: fraction by which the image is enlarged or shrunk.
        elastic: standard deviation of the displacement at the coarse grid's nodes, in pixels; 0 for none.
    """

    shift: float = 2.0
    degrees: float = 10.0
    scale: float = 0.1
    elastic: float = 0.0

    def __post_init__(self) -> None:
        if min(self.shift, self.degrees, self.scale, self.elastic) < 0 or self.scale >= 1:
            raise RecipeError("a warp's shift, degrees, scale and elastic are at least 0, and scale is below 1")

    def __call__(self, x: Tensor, rng: torch.Generator) -> Tensor:
        """Warp each image of [N, C, H, W]; what comes in from outside is black."""
        n = len(x)
        turn, scale, down, right = (2 * torch.rand(4, n, generator=rng, device=rng.device) - 1).to(x)
        bend = torch.randn(n, 2, COARSE, COARSE, generator=rng, device=rng.device).to(x) if self.elastic else None
        return moved(
            x,
            radians=turn * math.radians(self.degrees),
            scale=1 + scale * self.scale,
            shift=torch.stack([down, right], 1) * self.shift,
            bend=None if bend is None else bend * self.elastic,
        )


def moved(x: Tensor, *, radians: Tensor, scale: Tensor, shift: Tensor, bend: Tensor | None = None) -> Tensor:
    """Images turned about their centre, enlarged, shifted and bent.

    Args:
        x: [N, C, H, W].
        radians: [N], anticlockwise.
        scale: [N], 1 leaves the size.
        shift: [N, 2], pixels down and to the right.
        bend: [N, 2, h, w], displacement down and to the right in pixels, on a coarse grid.

    Returns:
        [N, C, H, W].
    """
    height, width = x.shape[2:]
    # From a pixel of the result to where it comes from, in pixels about the centre: (right, down).
    cos, sin = radians.cos() / scale, radians.sin() / scale
    # affine_grid counts in halves of each side, so the off-diagonal terms carry the ratio of the sides.
    right = torch.stack([cos, -sin * height / width, torch.zeros_like(cos)], 1)
    down = torch.stack([sin * width / height, cos, torch.zeros_like(cos)], 1)
    halves = torch.tensor([2 / width, 2 / height]).to(x)
    back = shift.flip(1) * halves  # [N, 2], right and down
    theta = torch.stack([right, down], 1)  # [N, 2, 3]
    theta = torch.cat([theta[..., :2], -(theta[..., :2] @ back[..., None])], 2)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)  # [N, H, W, 2]
    if bend is not None:
        smooth = F.interpolate(bend.flip(1), (height, width), mode="bicubic", align_corners=True)
        grid = grid - smooth.permute(0, 2, 3, 1) * halves
    return F.grid_sample(x, grid, align_corners=False)
