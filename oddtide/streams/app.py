"""What every role of a worker is made of: its context, and a Faust app of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faust.serializers.codecs import Codec
from faust.types import TP
from mode import CrashingSupervisor

from oddtide.streams.assignor import EvenAssignor
from oddtide.streams.broker import BrokerAccess
from oddtide.streams.progress import ProgressBoard
from oddtide.streams.quick_start import NoTables
from oddtide.streams.topics import TopicCatalogue
from oddtide.streams.transport import BatchApp, PositionSource, quicken_transactions

__all__ = ["TP", "WorkerContext", "batch_agent", "make_app"]


@dataclass(frozen=True)
class WorkerContext:
    """Who this worker is and what it stands on.

    ``clock`` gives nanoseconds since 1970; heartbeats, quiet times, log lines and idle
    partitions use it, never a verdict.
    ``instance_id`` makes group membership static: a quick restart then causes no rebalance.
    """

    application: str
    broker: BrokerAccess
    catalogue: TopicCatalogue
    worker: str
    host: str
    pid: int
    build: str
    folder: Path
    clock: Callable[[], int]
    session_timeout_s: float = 10.0
    max_batch: int = 20_000
    instance_id: str = ""
    metrics_url: str = ""
    heartbeat_s: float = 5.0
    roles: tuple[str, ...] = ()
    progress: ProgressBoard = field(default_factory=ProgressBoard)

    @property
    def source(self) -> str:
        """The ``source`` of events that this worker publishes."""
        return f"/{self.application}/{self.worker}"


class _Raw(Codec):
    """Bytes stay bytes: decoding is the pipeline's work, a record at a time."""

    def _loads(self, s: bytes) -> Any:
        return s

    def _dumps(self, s: Any) -> bytes:
        return bytes(s)


def make_app(
    context: WorkerContext, role: str, *, positions: PositionSource | None = None, blocks: bool = False
) -> BatchApp:
    """The Faust app of a role, in the consumer group ``<application>-<role>``. With ``blocks`` its agents are handed
    each batch as a ``RecordBlock``, else as a list of records."""
    quicken_transactions()
    folder = context.folder / "faust"
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{context.application}-{role}"
    app = BatchApp(
        name,
        **context.broker.faust_options(),
        # What Kafka's tools, and `oddtide lag`, call the member.
        broker_client_id=context.worker,
        datadir=str(folder / f"{name}-{context.instance_id or context.worker}"),
        # The same for every member: Faust's assignor insists that a member's address does not change, and ours do not
        # serve anything there.
        canonical_url="http://oddtide",
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=f"{context.instance_id}-{role}" if context.instance_id else None,
        topic_disable_leader=True,
        topic_allow_declare=False,
        web_enabled=False,
        stream_wait_empty=False,
        stream_buffer_maxsize=8,
        broker_max_poll_records=context.max_batch,
        broker_session_timeout=context.session_timeout_s,
        # Also how long a member takes to notice that another joined or left.
        broker_heartbeat_interval=min(context.session_timeout_s / 3, 1.0),
        broker_commit_interval=1.0,
        # Alerts, positions and lag come from our own events; Faust's livelock warnings know nothing of batches.
        stream_processing_timeout=3600.0,
    )
    # Faust types these settings as symbols, not as classes.
    app.conf.PartitionAssignor = EvenAssignor  # type: ignore[assignment]  # a symbol to Faust, not a class
    app.conf.TableManager = NoTables  # type: ignore[assignment]  # likewise
    app.positions, app.blocks = positions, blocks
    return app


def batch_agent(
    app: BatchApp, topics: list[str], handle: Callable[[TP, Any, Callable[[], None]], Any], name: str
) -> None:
    """Register a Faust agent that hands each batch of ``topics`` to ``await handle(tp, records, ack)``.

    The handler acknowledges when the batch's effects are durable. A handler that raises ends the worker with the
    reason: going on would lose the batch in silence.
    """
    channel = app.topic(*topics, value_serializer=_Raw(), key_serializer="raw")

    @app.agent(channel, name=name, supervisor_strategy=CrashingSupervisor)
    async def agent(stream: Any) -> None:
        async for event in stream.noack().events():
            message = event.message
            if message.generation_id == app.consumer_generation_id:
                await handle(message.tp, event.value, event.ack)
