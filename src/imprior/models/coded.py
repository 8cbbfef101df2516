"""Any model that encodes and decodes is a codec: its code, rounded, is what an entropy coder writes.

    x ──► encode ──► z ──► k = round((z - centre) / step) ──► a table for each unit ──► bytes         analyse, write
    x ◄── decode ◄── z ◄── centre + step·(k + centroid of k) ◄── the same tables ◄── bytes         read, synthesise

Steps, tables and centroids are fitted to the training images once the weights are final (coding.quantiser), and saved
with them, as integers where both ends must agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from imprior.coding import quantiser
from imprior.coding.quantiser import as_grid, to_symbols
from imprior.coding.tables import FrequencyTables
from imprior.errors import BitstreamError, CapabilityError, ImpriorError, RunError
from imprior.promises import Encodes, Latents, Shape, Sink, Source

RATES = 8


class CodesLatents(nn.Module):
    """Gives a module that keeps `Encodes` the promises `Codes` and `Calibrates`: inherit from it in nn.Module's place.

    A code is [N, U], whose numbers are the units, or [N, U, h, w], whose channels are. A file decodes to the same
    integers everywhere; the picture made of them is the same up to floating-point error, so `exact` is False.
    A class with more to calibrate does that in its own `calibrate` and calls this one's.
    """

    shape: Shape
    stride: int = 1
    halo: int = 0
    exact: bool = False
    lossless: bool = False
    rates: int = RATES

    # What calibration fits: see coding.quantiser.Quantiser. Empty before.
    code_grid: Tensor
    code_centre: Tensor
    code_step: Tensor
    code_low: Tensor
    code_count: Tensor
    code_frequency: Tensor
    code_centroid: Tensor

    if TYPE_CHECKING:  # the model has them

        def encode(self, x: Tensor) -> Tensor: ...  # noqa: D102
        def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor: ...  # noqa: D102

    def __init__(self) -> None:
        super().__init__()
        kinds = {"grid": torch.int64, "centre": torch.float32, "step": torch.float32, "low": torch.int32}
        kinds |= {"count": torch.int32, "frequency": torch.int32, "centroid": torch.int8}
        for name, kind in kinds.items():
            self.register_buffer(f"code_{name}", torch.zeros(0, dtype=kind))

    @property
    def calibrated(self) -> bool:
        """Whether there are tables to code with."""
        return self.code_grid.numel() > 0

    def calibrate(self, batches: Sequence[Tensor]) -> None:
        """Fit steps, tables and centroids, in two passes.

        Args:
            batches: training images [N, C, H, W]; the more of them, the better the tables.

        Raises:
            ImpriorError: no images, or codes that are not numbers.
        """
        assert isinstance(self, Encodes)
        device, mode = self.code_grid.device, self.training
        self.eval()
        try:
            fitted = quantiser.fit(self, batches, rates=self.rates, device=device)
        finally:
            self.train(mode)
        for name, value in vars(fitted).items():
            setattr(self, f"code_{name}", value.to(device))
        self._settle()

    @torch.no_grad()
    def analyse(self, x: Tensor, rate: int) -> Latents:
        """Images -> symbols, one block int32 [N, U, h, w] (h = w = 1 of a vector code)."""
        self._check(rate)
        z = as_grid(self.encode(x))
        step, low, count = self.code_step[rate], self.code_low[rate], self.code_count[rate]
        return Latents((to_symbols(z, self.code_centre, step, low, count),), _four(x.shape))

    def write(self, latents: Latents, sink: Sink, rate: int) -> None:
        """Put all symbols, those of a unit with the unit's table."""
        symbols = latents.blocks[0]
        sink.put(symbols.reshape(-1), _units(symbols.shape), self._tables(rate))

    def read(self, source: Source, shape: tuple[int, int, int, int], rate: int) -> Latents:
        """Get the symbols of images of `shape` back.

        Raises:
            BitstreamError: images of another size than the model's, or symbols that it never writes.
        """
        tables = self._tables(rate)
        if any(wanted not in (None, given) for wanted, given in zip(self.shape, shape[1:], strict=True)):
            raise BitstreamError(f"images of shape {tuple(shape[1:])}, but this model is for {tuple(self.shape)}")
        grid = torch.Size((shape[0], *self._grid(shape)))
        symbols = source.get(_units(grid), tables).reshape(grid)
        if bool((symbols >= self.code_count[rate].cpu().view(-1, 1, 1)).any()):
            raise BitstreamError("the compressed data is damaged: it holds a value that this model does not write")
        return Latents((symbols,), shape)

    @torch.no_grad()
    def synthesise(self, latents: Latents, rate: int) -> Tensor:
        """Symbols -> the mean images of the codes that they stand for, [N, C, H, W] in [0, 1]."""
        self._check(rate)
        symbols = latents.blocks[0].to(self.code_step.device)
        count = self.code_count[rate]
        starts = (self._start(rate) + count.cumsum(0) - count).view(-1, 1, 1)
        centroid = self.code_centroid[starts + symbols].float() / 254
        step, low, centre = (t.view(-1, 1, 1) for t in (self.code_step[rate], self.code_low[rate], self.code_centre))
        z = centre + step * (symbols + low + centroid)
        x = self.decode(z.flatten(1) if self.code_grid.numel() == 1 else z)
        return x[..., : latents.shape[2], : latents.shape[3]].clamp(0, 1)

    def _tables(self, rate: int) -> FrequencyTables:
        """The tables of one rate level, one a unit."""
        self._check(rate)
        count, start = self.code_count[rate].cpu(), self._start(rate)
        table = torch.ones(len(count), max(2, int(count.max())), dtype=torch.int32)
        table[torch.arange(table.shape[1]) < count[:, None]] = self.code_frequency.cpu()[start:][: int(count.sum())]
        try:
            return FrequencyTables.of(table)
        except ValueError as error:
            raise RunError(f"the entropy tables in this model's weights are damaged: {error}") from None

    def _start(self, rate: int) -> int:
        """Where a rate level begins in what is stored end to end."""
        return int(self.code_count[:rate].sum())

    def _grid(self, shape: tuple[int, int, int, int]) -> tuple[int, int, int]:
        """Units, height and width of the code of an image of `shape`."""
        units, *grid = self.code_grid.tolist()
        if not grid:
            return units, 1, 1
        if None in self.shape:
            return units, -(-shape[2] // self.stride), -(-shape[3] // self.stride)
        return units, grid[0], grid[1]

    def _check(self, rate: int) -> None:
        if not self.calibrated:
            raise CapabilityError(
                "this model can't compress yet: its code has no entropy tables "
                "(training fits them at its end; calibrate(batches) does, from training images)"
            )
        if not 0 <= rate < self.rates:
            raise ImpriorError(f"rate {rate}: this model has the levels 0 to {self.rates - 1}")

    def _settle(self) -> None:
        """State `stride` and `halo`; a vector code is one block for the whole image."""
        if self.calibrated:
            _, *grid = self.code_grid.tolist()
            self.stride, self.halo = grid[2:] if grid else (max(self.shape[1] or 1, self.shape[2] or 1), 0)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        # Only calibration knows the sizes, so the buffers take those of the file. A file without them (from before
        # calibration) leaves the model uncalibrated, and whoever wants to compress with it is told so.
        for name in [n for n in self._buffers if n.startswith("code_")]:
            own = getattr(self, name)
            saved = state_dict.setdefault(prefix + name, own.new_zeros(0))
            setattr(self, name, own.new_zeros(saved.shape))
        super()._load_from_state_dict(state_dict, prefix, *rest)
        if self._fits_together():
            self._settle()
        else:
            errors: list[str] = rest[-1]
            errors.append(f"{prefix}code_…: entropy tables of another shape than the model's")

    def _fits_together(self) -> bool:
        """Whether the sizes of all buffers agree, so that no index can go wrong later."""
        if not self.calibrated:
            return all(getattr(self, n).numel() == 0 for n in self._buffers if n.startswith("code_"))
        if self.code_grid.shape not in ((1,), (5,)) or bool((self.code_grid[:4] < 1).any()):
            return False
        table = (self.rates, int(self.code_grid[0]))
        if any(t.shape != table for t in (self.code_step, self.code_low, self.code_count)):
            return False
        flat = (int(self.code_count.sum()),)
        whole = self.code_frequency.shape == flat and self.code_centroid.shape == flat
        return whole and self.code_centre.shape == table[1:] and bool((self.code_count >= 1).all())


def _units(grid: torch.Size) -> Tensor:
    """The unit of each symbol of a flattened grid [N, U, h, w]."""
    return torch.arange(grid[1]).view(1, -1, 1, 1).expand(grid).reshape(-1)


def _four(shape: torch.Size) -> tuple[int, int, int, int]:
    n, channels, height, width = shape
    return n, channels, height, width
