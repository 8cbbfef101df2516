"""The entropy coder: symbols and integer tables to bytes and back, by the range coder of constriction.

    Encoder.put(symbols, index, tables) … finish() ──► bytes ──► Decoder(bytes).get(index, tables) ──► symbols

Symbols of one call are coded in groups of equal table (a stable sort by `index`), five times faster than one by one;
the decoder knows `index` too, so nothing is sent for it. The coder is the range coder with 32-bit words and a 64-bit
state (Pasco 1976; Martin 1979), tests/test_coding.py has it once more in a few lines of plain Python.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from imprior.errors import BitstreamError
from imprior.promises import Tables

WORD = 32
STATE = 64


class Encoder:
    """Turns symbols into bytes (keeps `promises.Sink`)."""

    def __init__(self) -> None:
        import constriction

        self._coder = constriction.stream.queue.RangeEncoder()

    def put(self, symbols: Tensor, index: Tensor, tables: Tables) -> None:
        """Code symbols [M] in 0 … S-1, each with the table of its index [M]."""
        values = symbols.cpu().numpy().astype(np.int32)
        assert values.ndim == 1 and values.shape == tuple(index.shape), "one table index for each symbol"
        assert values.size == 0 or (values.min() >= 0 and values.max() < tables.cumulative.shape[1] - 1)
        for table, places in _groups(index):
            self._coder.encode(values[places], _model(_row(tables, table), tables.precision))

    def finish(self) -> bytes:
        """All bytes so far: the shortest that decode to what was put, none for no symbols.

        The coder's state is an interval of 64-bit numbers, any of which would do. constriction always ends with one
        or two whole words; here the number with the most trailing zero bytes is taken and those are left out (the
        decoder reads zeros after the end): 2 to 3 bytes less, a tenth of what a digit needs.
        """
        words = self._coder.get_compressed()
        if words.size == 0:
            return b""
        position, (lower, width) = self._coder.pos()
        # Held-back words in front are already final in `words`: with a carry if constriction's own end point has one.
        carry = (lower + (1 << WORD) - 1) >> STATE
        for bits in range(STATE - 8, WORD - 1, -8):
            point = -(-lower >> bits) << bits  # the lowest multiple of 2^bits that is not below `lower`
            if point < lower + width and point >> STATE == carry:
                break
        tail = (point % (1 << STATE)).to_bytes(STATE // 8, "big")
        data: bytes = words[:position].astype(">u4").tobytes() + tail
        return data.rstrip(b"\0")


class Decoder:
    """Turns bytes back into symbols (keeps `promises.Source`).

    A range decoder finds symbols in any bytes, so damage is found by the container's checksum; what is noticed here
    is only bytes that no encoder writes.
    """

    def __init__(self, data: bytes) -> None:
        import constriction

        padded = data + b"\0" * (-len(data) % (WORD // 8))
        self._coder = constriction.stream.queue.RangeDecoder(np.frombuffer(padded, ">u4").astype(np.uint32))

    def get(self, index: Tensor, tables: Tables) -> Tensor:
        """Decode as many symbols as `index` [M] has entries: int32 [M].

        Raises:
            BitstreamError: the bytes can't be those of an encoder.
        """
        values = np.empty(len(index), np.int32)
        for table, places in _groups(index):
            model = _model(_row(tables, table), tables.precision)
            try:
                values[places] = self._coder.decode(model, len(places))
            except AssertionError as error:  # so constriction reports invalid data
                raise BitstreamError("the compressed data is damaged: no encoder writes this") from error
        return torch.from_numpy(values)


def _groups(index: Tensor) -> Iterator[tuple[int, Any]]:
    """Each table that `index` names, in rising order, with the places where it does."""
    tables = index.cpu().numpy()
    order = np.argsort(tables, kind="stable")
    found, starts = np.unique(tables[order], return_index=True)
    for table, places in zip(found, np.split(order, starts[1:]), strict=True) if len(order) else ():
        yield int(table), places


def _row(tables: Tables, table: int) -> bytes:
    row: bytes = tables.cumulative[table].numpy().tobytes()
    return row


@lru_cache(maxsize=8192)
def _model(cumulative: bytes, precision: int) -> Any:
    """constriction's model with exactly these frequencies; kept by content, so that a changed table is a new one.

    constriction takes probabilities, adds one to each after scaling to integers and rounds partial sums down. With
    f - 1 in float64 the scale is exactly 1 and all sums are whole, so it ends at f itself, on every machine.
    """
    import constriction

    assert precision == 24, "constriction's default coder counts in 2^-24"
    frequency = np.diff(np.frombuffer(cumulative, np.int32)).astype(np.float64)
    return constriction.stream.model.Categorical(frequency - 1, perfect=False)
