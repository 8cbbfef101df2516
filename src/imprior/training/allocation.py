"""How a training gets its memory."""

from __future__ import annotations

import ctypes

TRIM, MMAP = -1, -3  # parameters of glibc's mallopt: M_TRIM_THRESHOLD and M_MMAP_THRESHOLD
LARGE = 32 << 20  # bytes: the largest threshold that glibc takes for requests served by pages of their own
KEPT = 2**31 - 1  # bytes that may stay with the process although they are free


def keep_freed_memory() -> bool:
    """Have the C library keep what is freed, for the next step wants as much again.

    By default it gives large blocks back to the system and gets them as fresh pages, which must be cleared: a good part
    of a step of small networks on large batches.

    Returns:
        Whether this library knows how to (glibc does).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(TRIM, KEPT)) and bool(mallopt(MMAP, LARGE))
