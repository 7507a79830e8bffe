"""Folding topics into read models: an app whose positions are the read models' own, not the group's commits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog
from faust.types import TP

from oddtide.streams.agents.patience import persistently
from oddtide.streams.app import WorkerContext
from oddtide.streams.logged import logged_events
from oddtide.streams.ports import LoggedEvent, ReadModels

__all__ = ["Projector"]

_log = structlog.get_logger(__name__)


class Projector:
    """Folds batches into the group of projections ``name``.

    State and position change in one transaction, so each record is folded once however often it is read. While the
    database does not answer, the batch waits and the worker says that it is degraded. Partitions may be spread over
    several workers: projections don't depend on how partitions are interleaved.
    """

    def __init__(self, context: WorkerContext, name: str, read_models: ReadModels) -> None:
        self._context = context
        self._name = name
        self._read_models = read_models
        self._part = f"{name}.projections"
        self._well = True

    async def positions(self, assigned: set[TP]) -> Mapping[TP, int]:
        """Where to go on; from the beginning where nothing was folded yet, whatever the group has committed."""
        known = await asyncio.to_thread(self._read_models.positions, self._name)
        return {tp: known.get((tp.topic, tp.partition), 0) for tp in assigned}

    async def handle(self, tp: TP, records: list[Any], acknowledge: Callable[[], None]) -> None:
        """Fold a batch and acknowledge it."""
        await self.fold(tp, records, logged_events(tp.topic, tp.partition, records))
        acknowledge()

    async def fold(self, tp: TP, records: Sequence[Any], events: Sequence[LoggedEvent]) -> None:
        """Fold the events of a batch; the position moves behind its last record."""
        position = {(tp.topic, tp.partition): records[-1].offset + 1}
        await persistently(lambda: asyncio.to_thread(self._read_models.fold, self._name, events, position), self._say)

    def _say(self, reason: str) -> None:
        if bool(reason) != self._well:
            return
        self._well = not reason
        self._context.progress.role(self._part, "degraded" if reason else "running", reason)
        if reason:
            _log.warning("cannot project for now", projection=self._name, reason=reason)
