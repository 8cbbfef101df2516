"""A command of the program in a process of its own: how long it takes, and how much memory."""

import subprocess
import sys
import time

# The command, and after it the peak of the process that ran it.
CHILD = """
import sys
from imprior.cli import main
try:
    main(sys.argv[1:])
finally:
    peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(peak.split()[1], file=sys.stderr)
"""


def measured(*command: str) -> tuple[float, float]:
    """Peak of the resident memory [GiB] (VmHWM of /proc, Linux) and seconds of `imprior COMMAND`."""
    started = time.perf_counter()
    ended = subprocess.run([sys.executable, "-c", CHILD, *command], capture_output=True, text=True)
    seconds = time.perf_counter() - started
    if ended.returncode:
        raise SystemExit(f"the command failed: {ended.stderr}")
    return int(ended.stderr.split()[-1]) / 2**20, seconds
