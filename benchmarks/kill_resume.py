"""Killed at random moments, resumed, the same weights: bit for bit those of a training that nobody disturbed.

    python benchmarks/kill_resume.py MNIST_FOLDER --kills 20

One training runs to its end, and is timed. Then, as often as asked for, the same command is started in a new folder,
killed (SIGKILL: no chance to tidy up) at a moment drawn evenly over that time, and started again with --resume until it
ends. Everything goes through the command line, as a person would do it. A last training is killed again and again.
"""

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from show import finish

from imprior import runs


def command(asked: argparse.Namespace, out: Path, *more: str) -> list[str]:
    settings = [f"training.images={asked.images}", f"training.check={asked.images // 4}", *asked.settings]
    base = [sys.executable, "-m", "imprior", "train", asked.recipe, *settings]
    return [*base, "--data", asked.source, "--out", str(out), *more]


def weights(out: Path) -> str:
    """SHA-256 over names and bytes of the weights."""
    tensors, _ = runs.read_tensors(runs.Run(out).weights_file)
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def killed_after(seconds: float, what: list[str]) -> bool:
    """Start and kill; False where it had ended before."""
    process = subprocess.Popen(what, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        process.wait(timeout=seconds)
        return False
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # its workers as well
        process.wait()
        return True


def state(out: Path) -> int | None:
    """Images that the saved state has seen, None where nothing is saved yet."""
    run = runs.Run(out)
    return runs.read_tensors(run.state_file)[1]["images"] if run.state_file.is_file() else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="SRC", help="images to train on")
    parser.add_argument("settings", metavar="key=value", nargs="*", help="settings of the recipe")
    parser.add_argument("--recipe", default="mnist-vae")
    parser.add_argument("--images", type=int, default=600_000, help="of each training; it should take a minute or so")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    asked = parser.parse_args()
    moments = random.Random(asked.seed)

    with tempfile.TemporaryDirectory(prefix="kill-resume-") as place:
        whole = Path(place) / "whole"
        started = time.perf_counter()
        subprocess.run(command(asked, whole), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seconds, wanted = time.perf_counter() - started, weights(whole)
        print(f"undisturbed: {seconds:.1f} s, weights {wanted[:12]}", flush=True)
        rows = []
        for turn in range(asked.kills):
            out, moment = Path(place) / f"killed-{turn}", moments.uniform(0, seconds)
            was_killed = killed_after(moment, command(asked, out))
            saved = state(out)
            subprocess.run(command(asked, out, "--resume"), check=True, stdout=subprocess.DEVNULL)
            rows.append({"killed_at_seconds": moment, "killed": was_killed, "images_saved": saved})
            rows[-1]["equal"] = weights(out) == wanted
            print(rows[-1], flush=True)
        out, kills = Path(place) / "often", 0
        again = command(asked, out, "--resume")
        while kills < asked.kills and killed_after(moments.uniform(0.2, 0.6) * seconds, again):
            kills += 1
        subprocess.run(command(asked, out, "--resume"), check=True, stdout=subprocess.DEVNULL)
        often = {"kills": kills, "equal": weights(out) == wanted}
    protocol = {"recipe": asked.recipe, "settings": asked.settings, "images": asked.images, "seconds": seconds}
    summary = {"equal": sum(row["equal"] for row in rows), "of": len(rows), "killed_again_and_again": often}
    print(summary)
    finish("kill_resume", protocol | {"seed": asked.seed}, rows, summary=summary)
    if summary["equal"] < len(rows) or not often["equal"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
