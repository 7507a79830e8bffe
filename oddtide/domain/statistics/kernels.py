"""Compiling loops over columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

__all__ = ["bare_kernel", "inlined", "kernel"]

_Function = TypeVar("_Function", bound=Callable[..., Any])

_BARE: dict[str, Any] = {"_nrt": False}


def kernel(function: _Function) -> _Function:
    """Compile ``function`` with numba on its first call, to machine code that is kept on disk where it can be.

    Guaranteed: IEEE arithmetic in the order written (no fast-math), so equal bits on one CPU type; it releases the
    GIL. Where no folder is writable (a read-only install without a home) it compiles anew in each process.
    A kernel calls only kernels of its own file: numba's cache looks at nothing else when it asks whether it is stale.
    """
    return _compiled(function, {})


def bare_kernel(function: _Function) -> _Function:
    """The same for a function that makes no array and returns none: numba then counts no references to those it is
    given. In a loop that calls others with rows of arrays the counting costs more than the work (measured: a look-up
    of a series' name 97 ns with it, 29 without).

    It calls only :func:`inlined` ones. ``_nrt`` is numba's private name for it; ``tests/unit/test_kernels.py`` says
    whether it still is.
    """
    return _compiled(function, _BARE)


def inlined(function: _Function) -> _Function:
    """A part of bare kernels of the same file, compiled into each place that calls it (a third off the time of a loop
    that does little in each), and kept on disk only there."""
    return cast(_Function, numba.njit(nogil=True, forceinline=True, **_BARE)(function))


def _compiled(function: _Function, options: dict[str, Any]) -> _Function:
    try:
        compiled = numba.njit(cache=True, nogil=True, **options)(function)
    except RuntimeError:  # "cannot cache function: no locator available"
        compiled = numba.njit(nogil=True, **options)(function)
    return cast(_Function, compiled)
