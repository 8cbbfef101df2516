"""Colour megapixels a second: our denoiser beside BM3D and non-local means, on one picture in one run.

    python benchmarks/denoise_speed.py
    python benchmarks/denoise_speed.py --picture photo.png --threads 2

Each is called once to warm up, then timed; the fastest of its calls counts, since everything else that runs on the
machine only adds. `as people call it` is `imprior.denoise(picture, sigma)` on 8 bits; below it the network alone in
single precision and in bfloat16, with the PSNR of each, since bfloat16 counts only where the picture stays the same
(within 0.02 dB). The picture is an embedded photograph, mirrored until it is large enough.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import photos
import torch
from show import finish, versions
from torch.utils.flop_counter import FlopCounterMode

from imprior import face, opening, runs
from imprior.promises import DenoisesLocally
from imprior.tasks.protocol import evaluating


def mirrored(picture: photos.Picture, side: int) -> photos.Picture:
    """[side, side, C]: a picture and its mirror images."""
    twice = np.concatenate([picture, picture[::-1]])
    four = np.concatenate([twice, twice[:, ::-1]], axis=1)
    height, width = four.shape[:2]
    return np.ascontiguousarray(np.tile(four, (-(-side // height), -(-side // width), 1))[:side, :side])


def fastest(work: Callable[[], Any], turns: int) -> tuple[float, Any]:
    """Seconds of the fastest call after a first one, and what the last one gave."""
    result, seconds = work(), float("inf")
    for _ in range(turns):
        started = time.perf_counter()
        result = work()
        seconds = min(seconds, time.perf_counter() - started)
    return seconds, result


def multiplications(model: Any, batch: torch.Tensor) -> dict[str, float]:
    """Of layers, for each pixel, thousands: when sigma is told, and those that its estimate takes besides."""
    counts = []
    for work in (lambda: model.denoise(batch, 0.1), lambda: model.noise(batch)):
        with FlopCounterMode(display=False) as counter, evaluating(model):
            work()
        counts.append(counter.get_total_flops() / 2 / batch[:, 0].numel() / 1000)
    return dict(zip(("told", "estimate"), counts, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="photo-denoiser", help="embedded name or run folder")
    parser.add_argument("--picture", default=str(runs.EMBEDDED / "data" / "photos" / "coffee.webp"), metavar="FILE")
    parser.add_argument("--peers", nargs="*", default=["bm3d", "non-local-means"], help="which")
    parser.add_argument("--side", type=int, default=1024, help="of the picture, pixels [1024]")
    parser.add_argument("--sigma", type=float, default=25.0, help="8-bit scale [25]")
    parser.add_argument("--threads", type=int, default=2, help="of the network [2]")
    parser.add_argument("--turns", type=int, default=5, help="calls of the network; a peer is called twice [5]")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)

    clean = mirrored(photos.load(asked.picture, 3).pictures[0], asked.side)
    noisy = photos.noisy(clean, asked.sigma, 0, "speed")
    in_8_bits = np.rint(255 * noisy.clip(0, 1)).astype(np.uint8)
    model = opening.model(asked.model).model
    batch = photos.as_batch(noisy)

    def network(fast: bool) -> photos.Picture:
        model.fast = False  # as it is told, not as it would choose
        with evaluating(model), torch.autocast("cpu", torch.bfloat16, enabled=fast):
            return model.denoise(batch, asked.sigma / 255)[0].permute(1, 2, 0).float().numpy()  # type: ignore[no-any-return]

    def called() -> photos.Picture:
        model.fast = True
        return face.denoise(in_8_bits, asked.sigma, model=model).astype(np.float32) / 255

    methods: dict[str, tuple[Callable[[], photos.Picture], int]] = {
        f"{asked.model}, as people call it": (called, asked.turns),
        f"{asked.model}, network in float32": (lambda: network(False), asked.turns),
        f"{asked.model}, network in bfloat16": (lambda: network(True), asked.turns),
    }
    for name, peer in photos.peers(*asked.peers).items():
        methods[name] = (lambda peer=peer: peer(noisy, asked.sigma), 1)  # type: ignore[misc]
    rows = []
    for name, (work, turns) in methods.items():
        seconds, result = fastest(work, turns)
        speed = asked.side**2 / 1e6 / seconds
        rows.append(
            {"method": name, "megapixels_per_second": speed, "seconds": seconds, "db": photos.db(clean, result)}
        )
    protocol = {
        "side": asked.side,
        "sigma": asked.sigma,
        "turns": asked.turns,
        "parameters": sum(p.numel() for p in model.parameters()) if isinstance(model, torch.nn.Module) else None,
        "versions": versions("scikit-image", "bm3d"),
    }
    if isinstance(model, DenoisesLocally):
        protocol["thousand_multiplications_per_pixel"] = multiplications(model, batch)
    finish("denoise_speed", protocol, rows)


if __name__ == "__main__":
    main()
