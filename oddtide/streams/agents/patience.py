"""Trying again what may work later: a broker that restarts, a database that is away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from aiokafka.errors import KafkaError

from oddtide.domain.errors import DependencyError

__all__ = ["TRANSIENT", "persistently"]

#: What may pass by itself. Anything else ends the worker with its reason.
TRANSIENT = (KafkaError, DependencyError, OSError, asyncio.TimeoutError)

_RETRY_S = 1.0
_T = TypeVar("_T")


async def persistently(step: Callable[[], Awaitable[_T]], say: Callable[[str], None]) -> _T:
    """Run ``step`` until it succeeds. ``say`` is told the reason of each failure, and the empty text at the end."""
    while True:
        try:
            outcome = await step()
        except TRANSIENT as error:
            say(str(error) or type(error).__name__)
            await asyncio.sleep(_RETRY_S)
        else:
            say("")
            return outcome
