"""What the owner of a partition needs from its surroundings."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from oddtide.streams.committing import Commit
from oddtide.streams.controls import Controls, ControlSource
from oddtide.streams.folding import FoldCosts
from oddtide.streams.inbox import ENOUGH
from oddtide.streams.progress import ProgressBoard

__all__ = ["Services"]


async def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Services:
    """What an owner needs from its surroundings. ``seek`` asks for the records from an offset on again; ``highwater``
    is the partition's end as last fetched, ``earliest`` asks for the oldest offset that it still has, ``at_end``
    whether every record that it holds was handed over; ``controls`` says
    what is due, ``source`` has what that needs; ``costs`` is what folding costs all partitions of the worker;
    ``pace`` is how many seconds lie at least between two small batches, those of fewer than ``enough`` records.

    One of ``lost`` and ``broken`` is called, once, when the ownership ended by an error: ``lost`` where a new ownership
    may get over that, ``broken`` where it would meet the same again."""

    commit: Commit
    seek: Callable[[int], Awaitable[None]]
    lost: Callable[[BaseException], None]
    broken: Callable[[BaseException], None]
    highwater: Callable[[], int]
    earliest: Callable[[], Awaitable[int]]
    controls: Controls
    source: ControlSource
    progress: ProgressBoard
    build: str
    costs: FoldCosts
    pace: Callable[[], float]
    enough: int = ENOUGH
    clock: Callable[[], int] = time.time_ns
    at_end: Callable[[], Awaitable[bool]] = _never
