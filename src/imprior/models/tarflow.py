"""A transformer autoregressive flow over images of whole levels: each patch is scaled and shifted by those before it.

    x ──► noise, levels ──► y ──► patches ──► block ──► flip ──► block ──► flip ──► … ──► z
    [N,1,28,28]                   [N,16,7,7]                                              [N,784]
    block:  patches x_0, x_1 … ──► causal transformer ──► z_i = x_i·exp(log_scale(x_<i)) + shift(x_<i)

A block sees all patches at once on the way to z, thanks to causal self-attention; the way back goes patch by patch, and
keeps the keys and values of the patches before. Turning the grid round between blocks alternates the order, so that
each patch is moved by those before it and by those after it. What makes a density of the levels of pixels is in
`dequantised` (the paper adds Gaussian noise instead, and so has no likelihood of images of levels where it samples
best).

Reference: Zhai et al., 2024, Normalizing flows are capable generative models (TarFlow), section 2.2 and equation 3.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imprior.errors import RecipeError
from imprior.models.dequantised import DequantisedFlow, Uniform, Variational
from imprior.nn.convolutional import convolution
from imprior.nn.transformer import Transformer


@dataclass(frozen=True)
class Config:
    """Settings of a transformer autoregressive flow.

    Attributes:
        shape: (channels, height, width) of the images; zeros are filled in from the data.
        levels: of a pixel: 256, or 2 for binary images.
        patch: side of a patch in pixels.
        blocks: each goes through all patches once, in turns from the first and from the last.
        network: the causal transformer in each block.
        bound: largest absolute log-scale of one block.
        dequantisation: the noise that makes levels continuous.
    """

    shape: tuple[int, int, int] = (0, 0, 0)
    levels: int = 256
    patch: int = 4
    blocks: int = 4
    network: Transformer = field(default_factory=lambda: Transformer(layers=2))
    bound: float = 3.0
    dequantisation: Uniform | Variational = field(default_factory=Variational)

    def __post_init__(self) -> None:
        if self.levels not in (2, 256):
            raise RecipeError(f"levels must be 2 or 256, not {self.levels}")
        if self.patch < 1 or self.blocks < 1:
            raise RecipeError("patch and blocks must be at least 1")
        if not self.bound > 0:
            raise RecipeError(f"bound must be above 0, not {self.bound}")

    def build(self) -> TarFlow:
        """The model, with fresh weights."""
        _, height, width = self.shape
        if height % self.patch or width % self.patch:
            raise RecipeError(f"patches of {self.patch} x {self.patch} don't tile images of {height} x {width}")
        return TarFlow(self)


class TarFlow(DequantisedFlow):
    """Keeps Decodes, Encodes, Scores and Samples."""

    def __init__(self, config: Config) -> None:
        super().__init__(config.shape, config.levels, config.dequantisation)
        self.config = config
        channels, height, width = config.shape
        self.grid = (channels * config.patch**2, height // config.patch, width // config.patch)
        self.blocks = nn.ModuleList(Block(self.grid, config.network, config.bound) for _ in range(config.blocks))

    def transform(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """y [N, C, H, W] -> z [N, C·H·W] and log |det dz/dy| [N]."""
        x, log_det = F.pixel_unshuffle(y, self.config.patch), y.new_zeros(len(y))
        for block in self.blocks:
            x, more = block(x)
            x, log_det = x.flip(2, 3), log_det + more
        return x.flatten(1), log_det

    def invert(self, z: Tensor) -> Tensor:
        """z [N, C·H·W] -> y [N, C, H, W], in blocks · patches steps."""
        x = z.view(-1, *self.grid)
        for block in reversed(self.blocks):
            assert isinstance(block, Block)
            x = block.inverse(x.flip(2, 3))
        return F.pixel_shuffle(x, self.config.patch)


class Block(nn.Module):
    """z_i = x_i·exp(log_scale_i) + shift_i, where a causal transformer computes both from x_0 … x_i-1.

    Args:
        shape: (numbers in a patch, rows, columns) of x.
        network: settings of the transformer.
        bound: largest absolute log-scale.
    """

    def __init__(self, shape: tuple[int, int, int], network: Transformer, bound: float) -> None:
        super().__init__()
        self.network = network.build(*shape, None)
        self.head = convolution(network.width, 2 * shape[0], 1, gain=0.0)
        self.bound = bound

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[N, *shape] -> the same, and log_det [N]."""
        log_scale, shift = self._affine(self.network(x), x)
        return torch.addcmul(shift, x, log_scale.exp()), log_scale.flatten(1).sum(1)

    def inverse(self, z: Tensor) -> Tensor:
        """[N, *shape] -> the same, patch after patch."""
        state = self.network.begin(len(z), None, z)
        patches: list[Tensor] = []
        for position, latent in enumerate(z.flatten(2).unbind(2)):
            features = self.network.step(state, position, patches[-1] if patches else None)
            log_scale, shift = self._affine(features[..., None, None], z)
            patches.append((latent - shift[..., 0, 0]) * (-log_scale[..., 0, 0]).exp())
        return torch.stack(patches, 2).view_as(z)

    def _affine(self, features: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        raw, shift = self.head(features).to(like.dtype).chunk(2, 1)
        return self.bound * (raw / self.bound).tanh(), shift
