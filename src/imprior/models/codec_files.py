"""How the photo codec makes files: coefficients to integers and back, in whole numbers, and better ones by search.

x ──► transform ──► grid (──► refine) ──► settle ──► z, k ──► write ──► entropy coder
x ◄── picture ◄── arrived ◄── z, k ◄── read ◄── entropy decoder
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from imprior.errors import CapabilityError, ImpriorError
from imprior.models.codec_search import search
from imprior.models.codec_symbols import to_side_integers
from imprior.models.codec_whole import RATES, WholeHalf
from imprior.nn.block_transform import BLOCK, Analysis, Synthesis
from imprior.nn.convolutional import Pad
from imprior.promises import Latents, Shape, Sink, Source, check_shape

STRIDE = 64  # pixels to a side of a place of z
# Integers nearer to 0 than the nearest save bits, and make what is expected of later ones worse: so their errors count
# twice. Chosen on training photographs, of 1, 1.4, 2 and 3.
CAUTION = 2.0


class CodesPhotographs(nn.Module):
    """What a codec has that was trained (models.codec): keeps CodesTiles."""

    stride = STRIDE
    place = BLOCK
    halo = 2  # the synthesis sees 8 places of 16 pixels to each side
    exact = True
    lossless = False
    rates = RATES
    anchors: int
    shape: Shape
    slices: tuple[int, ...]
    basis: Tensor
    spread: Tensor
    log_gain: nn.Parameter
    analysis: Analysis
    synthesis: Synthesis
    pad: Pad
    to_side: nn.Sequential
    whole: WholeHalf

    if TYPE_CHECKING:  # the trained codec has them
        from imprior.models.codec_vae import Choose

        def weight(self, level: Tensor) -> Tensor: ...  # noqa: D102
        def worth(self, level: Tensor) -> Tensor: ...  # noqa: D102
        def unfold(self, side: Tensor, level: Tensor, choose: Choose) -> tuple[list[Tensor], Tensor]: ...  # noqa: D102

    def transform(self, x: Tensor) -> Tensor:
        """Images [N, C, H, W], H and W multiples of `stride` -> coefficients [N, U, H/16, W/16], real numbers.

        Raises:
            DataError: images of another number of channels than the model's.
        """
        check_shape(x, self.shape)
        with torch.no_grad():
            return self.analysis(x - 0.5, self.basis, self.spread).float()  # type: ignore[no-any-return]

    def refine(
        self, grid: Tensor, x: Tensor, rate: int, steps: int, *, tell: Callable[[int, int], None] | None = None
    ) -> Tensor:
        """Coefficients whose integers cost less, or show more, than those of the transform.

        Args:
            grid: coefficients to begin with, [N, U, h, w].
            x: what they shall show, [N, C, 16h, 16w].
            rate: 0 to 100.
            steps: how many.
            tell: is told how many steps are done, of how many.
        """
        with torch.inference_mode(False), torch.enable_grad():
            return search(self, grid.clone(), x.clone(), rate, steps, tell)

    def settle(self, grid: Tensor, rate: int) -> Latents:
        """Coefficients -> z, integers, the numbers of their tables, and what they stand for: int32 each.

        Each integer is the nearest one, or the next towards what is expected where that is worth it.

        Raises:
            CapabilityError: the model was not calibrated.
        """
        self._check(rate)
        level = torch.full_like(grid[:, :1], rate / (RATES - 1))
        with torch.no_grad():
            worth = CAUTION * self._worth(rate)
            z = to_side_integers(self.to_side(torch.cat([grid, level], 1)))
            known = self._known(z, rate)
            ks, tables = [], []
            for number, wanted in enumerate(torch.split(grid, list(self.slices), 1)):
                mean, table = self.whole.expected(number, known, rate)
                ks.append(self.whole.nearest(number, wanted, mean, table, rate, worth))
                tables.append(table.int())
                known.append(self.whole.coefficients(number, ks[-1], mean, rate))
        blocks = (z, torch.cat(ks, 1), torch.cat(tables, 1), torch.cat(known[2:], 1).int())
        count, _, height, width = grid.shape
        return Latents(blocks, (count, self.shape[0] or 0, BLOCK * height, BLOCK * width))

    def arrived(self, latents: Latents) -> Tensor:
        """What the synthesis is given: whole numbers, int32 [N, U, h, w]."""
        return latents.blocks[3]

    def picture(self, grid: Tensor) -> Tensor:
        """Whole numbers [N, U, h, w] -> images [N, C, 16h, 16w], whole levels k / 255: the same on every machine."""
        with torch.no_grad():
            return self.whole.pixels(grid.float()).float() / 255

    def analyse(self, x: Tensor, rate: int) -> Latents:
        """Images -> integers, as `settle` makes them.

        Raises:
            CapabilityError: the model was not calibrated.
            DataError: images of another number of channels than the model's.
        """
        count, channels, height, width = x.shape
        return Latents(self.settle(self.transform(self.pad(x)), rate).blocks, (count, channels, height, width))

    def write(self, latents: Latents, sink: Sink, rate: int) -> None:
        """Put z, then the coefficients slice by slice."""
        z, k, table, _ = latents.blocks
        self.whole.put_side(z, rate, sink)
        for ks, tables in zip(*(torch.split(t, list(self.slices), 1) for t in (k, table)), strict=True):
            self.whole.put(ks, tables.long(), sink)

    def read(self, source: Source, shape: tuple[int, int, int, int], rate: int) -> Latents:
        """Get back what `write` put, for images of `shape` [N, C, H, W].

        Raises:
            BitstreamError: symbols that this codec never writes.
        """
        self._check(rate)
        count, _, height, width = shape
        z = self.whole.get_side((count, -(-height // STRIDE), -(-width // STRIDE)), rate, source)
        ks, tables = [], []
        with torch.no_grad():
            known = self._known(z, rate)
            for number in range(len(self.slices)):
                mean, table = self.whole.expected(number, known, rate)
                ks.append(self.whole.get(table, source))
                tables.append(table.int())
                known.append(self.whole.coefficients(number, ks[-1], mean, rate))
        return Latents((z, torch.cat(ks, 1), torch.cat(tables, 1), torch.cat(known[2:], 1).int()), shape)

    def synthesise(self, latents: Latents, rate: int) -> Tensor:
        """Integers -> images [N, C, H, W], whole levels k / 255: the same on every machine."""
        return self.picture(self.arrived(latents))[..., : latents.shape[2], : latents.shape[3]]

    def _worth(self, rate: int) -> Tensor:
        """`worth` at a quality: [U]."""
        return self.worth(torch.tensor([rate / (RATES - 1) * (self.anchors - 1)]).to(self.spread))[0]

    def _known(self, z: Tensor, rate: int) -> list[Tensor]:
        features = self.whole.features(z)
        return [self.whole.told(rate, features), features]

    def _check(self, rate: int) -> None:
        if not self.whole.ready:
            raise CapabilityError("this codec can't compress yet: training makes its whole-number half at its end")
        if not 0 <= rate < RATES:
            raise ImpriorError(f"rate {rate}: this model has the levels 0 to {RATES - 1}")
