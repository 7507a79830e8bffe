"""Logging decisions so that one worker at a time can.

A decider is a fold of its own log. To take over: open the writer, which fences the one before (nothing of it can become
visible any more), then read the log to its end, and only then decide. What a batch decides is one transaction.
"""

from __future__ import annotations

from collections.abc import Iterable

from oddtide.streams.app import WorkerContext
from oddtide.streams.envelope import seal
from oddtide.streams.publisher import Outgoing
from oddtide.streams.results import ResultRecord
from oddtide.streams.transactions import PartitionWriter

__all__ = ["DecisionLog"]


class DecisionLog:
    """The one writer of a role's decisions in an application."""

    def __init__(self, context: WorkerContext, name: str) -> None:
        self._context = context
        self._id = f"{context.application}-{name}"
        self._writer: PartitionWriter | None = None

    async def open(self) -> None:
        """Become the one writer; the one before, ours or another worker's, is fenced."""
        await self.close()
        writer = PartitionWriter(self._context.broker, self._id)
        await writer.open()
        self._writer = writer

    async def append(self, decisions: Iterable[Outgoing]) -> None:
        """Log decisions, all or none. Raises ``ProducerFenced`` when another worker has taken over."""
        if self._writer is None:
            raise RuntimeError("append before open()")
        records = [self._record(outgoing) for outgoing in decisions]
        if records:
            await self._writer.commit(records)

    async def close(self) -> None:
        """Disconnect. May be called twice."""
        writer, self._writer = self._writer, None
        if writer is not None:
            await writer.close()

    def _record(self, outgoing: Outgoing) -> ResultRecord:
        value, headers = seal(
            outgoing.event,
            id=outgoing.id,
            source=self._context.source,
            time=outgoing.time,
            subject=outgoing.subject or outgoing.key,
            correlation=outgoing.correlation,
            causation=outgoing.causation,
        )
        return ResultRecord(outgoing.topic, outgoing.partition or 0, outgoing.key.encode(), value, headers)
