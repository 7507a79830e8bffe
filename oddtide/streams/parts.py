"""What the roles of a worker are made of, handed in by the composition."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from oddtide.domain.observability.notifications import Channel, Outbox
from oddtide.domain.observability.policy import AlertPolicy
from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.pipeline.sleeping import Sleeping
from oddtide.streams.ports import Artifacts, ReadModels, SnapshotStore, Toolkit, Trainer
from oddtide.streams.snapshotting import SnapshotPolicy

__all__ = ["WorkerParts"]


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """``settings`` are the streams' sections as their author wrote them, by stream, to be published with the plans.
    Without a store of ``snapshots`` none are taken, and every takeover folds the log from its start.
    ``read_models`` is None where this worker projects nothing; ``take_over`` then asks whether it may now, and gives
    the parts to do it with. Opened alerts wait in ``outbox`` and are told through ``channels``, by name; None and empty
    where nobody is to be told. ``sleeping`` is None where every series stays in memory."""

    plans: tuple[StreamPlan, ...]
    toolkit: Toolkit
    artifacts: Artifacts
    trainer: Trainer
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    snapshots: SnapshotStore | None = None
    snapshot_policy: SnapshotPolicy = field(default_factory=SnapshotPolicy)
    read_models: ReadModels | None = None
    alerts: AlertPolicy = field(default_factory=AlertPolicy)
    outbox: Outbox | None = None
    channels: Mapping[str, Channel] = field(default_factory=dict)
    sleeping: Sleeping | None = None
    take_over: Callable[[], WorkerParts | None] | None = None
