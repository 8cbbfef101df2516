"""What it costs to say `import imprior` or `imprior --help`, over the start of a bare interpreter.

    python benchmarks/import_time.py

Each command is started several times in turns; the fastest start of each counts, since everything else that runs on the
machine only adds. Modules are listed by the interpreter itself (-X importtime).
"""

import argparse
import subprocess
import sys
import time

from show import finish

BARE = ["-c", "pass"]
COMMANDS = {
    "import imprior": ["-c", "import imprior"],
    "imprior --help": ["-m", "imprior", "--help"],
    "imprior train --help": ["-m", "imprior", "train", "--help"],
}
HEAVY = ("torch", "numpy", "PIL", "matplotlib", "safetensors", "constriction", "rich")


def seconds(command: list[str]) -> float:
    """Wall time of one start of this interpreter."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def imported(command: list[str]) -> set[str]:
    """Top-level names of the modules that a start of this interpreter imports."""
    told = subprocess.run([sys.executable, "-X", "importtime", *command], check=True, capture_output=True, text=True)
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in told.stderr.splitlines() if "|" in line}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=20, help="starts of each command")
    turns = parser.parse_args().turns

    best = {"bare": min(seconds(BARE) for _ in range(3))}
    for _ in range(turns):
        best["bare"] = min(best["bare"], seconds(BARE))
        for name, command in COMMANDS.items():
            best[name] = min(best.get(name, float("inf")), seconds(command))
    rows = []
    for name, command in COMMANDS.items():
        heavy = sorted(imported(command) & set(HEAVY))
        rows.append(
            {"command": name, "seconds_over_bare": best[name] - best["bare"], "heavy_imports": ", ".join(heavy)}
        )
    finish("import_time", {"bare_seconds": best["bare"], "turns": turns, "python": sys.version.split()[0]}, rows)


if __name__ == "__main__":
    main()
