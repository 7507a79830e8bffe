"""Many things at once, and what to say of the one that failed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable

__all__ = ["all_of", "reason_of"]


async def all_of(work: Iterable[Awaitable[None]]) -> None:
    """Wait for all, then raise the first error: nothing goes on behind the back of a second try."""
    for outcome in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


def reason_of(error: BaseException) -> str:
    """An error in words, also one that has none."""
    return str(error) or type(error).__name__
