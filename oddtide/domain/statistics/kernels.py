"""Compiling loops over columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

__all__ = ["kernel"]

_Function = TypeVar("_Function", bound=Callable[..., Any])


def kernel(function: _Function) -> _Function:
    """Compile ``function`` with numba on its first call, to machine code that is kept on disk where it can be.

    Guaranteed: IEEE arithmetic in the order written (no fast-math), so equal bits on one CPU type; it releases the
    GIL. Where no folder is writable (a read-only install without a home) it compiles anew in each process.
    A kernel calls only kernels of its own file: numba's cache looks at nothing else when it asks whether it is stale.
    """
    try:
        compiled = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # "cannot cache function: no locator available"
        compiled = numba.njit(nogil=True)(function)
    return cast(_Function, compiled)
