"""Many things at once, and what to say of the one that failed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable

from oddtide.domain.errors import FoldError, OddtideError

__all__ = ["all_of", "maybe_a_bug", "reason_of"]


async def all_of(work: Iterable[Awaitable[None]]) -> None:
    """Wait for all, then raise the first error: nothing goes on behind the back of a second try."""
    for outcome in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


def reason_of(error: BaseException) -> str:
    """An error in words, also one that has none."""
    return str(error) or type(error).__name__


def maybe_a_bug(error: BaseException) -> BaseException | None:
    """The error, where its traceback tells what its words do not; else None."""
    return error if isinstance(error, FoldError) or not isinstance(error, OddtideError) else None
