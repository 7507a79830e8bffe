"""Giving free memory back to the machine.

What is freed stays with the C library, in a pool for each thread that ever allocated: after a burst tens of megabytes
that nobody uses (measured: 77 of 486 in a worker of a million series). glibc can be asked for it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache

__all__ = ["give_back"]


def give_back() -> bool:
    """Give back whole pages that are free, and say whether the C library is one that can (glibc; others keep less).

    Takes 0.3 to 4 ms, in which other threads that allocate may have to wait, and what is needed again later costs a
    page fault for each 4 KiB. So: now and then, and not on the event loop."""
    trim = _malloc_trim()
    if trim is None:
        return False
    trim(0)
    return True


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None
    return found
