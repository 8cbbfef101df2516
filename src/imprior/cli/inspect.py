"""`imprior inspect FILE`: what a compressed photograph's file holds, and whether it is whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from imprior.cli._options import as_json, verb
from imprior.cli._output import emit, pairs
from imprior.cli.decompress import read
from imprior.errors import BitstreamError, DataError


@verb("inspect", "On pictures", "imprior inspect photo.imp", "imprior inspect photo.imp --json")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@as_json()
def command(file: Path, as_json: bool) -> None:
    """Show what a compressed photograph's file holds.

    Header, rate, model, tiles by kind, sizes, and whether all parts are whole; nothing is decoded. "-" is standard
    input. Exit code 2 if a part is damaged.
    """
    from imprior.face import compressing

    try:
        data = read(file)
        known = _small(data) if compressing.is_small(data) else _photograph(data)
    except (BitstreamError, DataError) as error:
        raise type(error)(f"{file}: {error}") from None
    found: dict[str, Any] = {"file": str(file), "bytes": len(data)} | known
    if as_json:
        emit(found)
    else:
        tiles = found.get("tiles")
        if isinstance(tiles, dict):
            del tiles["list"]
        print("\n".join(pairs(found)))
    damaged = [name for name, state in found["checks"].items() if state != "whole"]
    if damaged:
        raise BitstreamError(f"{file}: damaged: {', '.join(damaged)} (decompress --salvage decodes the rest)")


def _photograph(data: bytes) -> dict[str, Any]:
    """Of format version 2."""
    from imprior.coding import tiled
    from imprior.face.compressing import codecs

    photograph = tiled.unpack(data, salvage=True, most_pixels=1 << 64)
    index = tiled.index(data)
    rows, columns = photograph.grid
    hashed = photograph.weights.hex()
    names = [name for name, decoder in codecs().items() if decoder == hashed]
    tiles = [
        {
            "x": number % columns * photograph.side,
            "y": number // columns * photograph.side,
            "kind": tile.kind,
            "quality": tile.rate,
            "bytes": index.tiles[number],
            "whole": tile.payload is not None,
        }
        for number, tile in enumerate(photograph.tiles)
    ]
    learned = [tile for tile in tiles if tile["kind"] == "learned"]
    qualities = sorted({int(tile["quality"]) for tile in learned})
    lost = [number for number, tile in enumerate(tiles) if not tile["whole"]]
    checks = {"header": "whole", "tiles": f"damaged: {', '.join(map(str, lost))}" if lost else "whole"}
    checks |= {name: "whole" if name in photograph.extras else "damaged" for name in index.extras}
    if index.end < len(data):
        checks["end"] = f"{len(data) - index.end:,} bytes too many"
    return {
        "format": "photograph, version 2",
        "width": photograph.width,
        "height": photograph.height,
        "colour": ("grey" if photograph.grey else "RGB") + (" and alpha" if "alpha" in index.extras else ""),
        "bits_per_pixel": 8 * len(data) / (photograph.width * photograph.height),
        "quality": qualities,
        "model": {"hash": hashed, "name": names[0] if names else "not one that comes with this version"},
        "tiles": {
            "side": photograph.side,
            "rows": rows,
            "columns": columns,
            **{
                kind: {"tiles": len(sizes), "bytes": sum(sizes)}
                for kind in tiled.KINDS
                for sizes in [[tile["bytes"] for tile in tiles if tile["kind"] == kind]]
            },
            "list": tiles,
        },
        "extras": dict(index.extras),
        "checks": checks,
    }


def _small(data: bytes) -> dict[str, Any]:
    """Of format version 1."""
    from imprior.coding.container import unpack

    header, payload = unpack(data)
    return {
        "format": "images of a small model, version 1",
        "images": header.images,
        "shape": "the model's" if header.shape is None else list(header.shape),
        "rate": header.rate,
        "model": {"hash": header.weights.hex(), "name": header.name or "not named"},
        "payload": len(payload),
        "checks": {"all": "whole"},
    }
