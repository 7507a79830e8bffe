"""The observability role: alerts decided as events, everything projected into read models, people told.

Two Faust apps in one: ``alerts`` decides (one worker at a time, :mod:`.alerting`); ``observability`` projects
detections, quality, drift, alerts and feedback (every worker its partitions, :mod:`.projecting`). Where the worker has
no read models (another process projects into the same database, say) it still decides, and says that projections are
off. What waits in the outbox is sent by one of the workers that project: the one that holds the first alerts partition.
"""

from __future__ import annotations

from functools import partial

import structlog
from faust.types import TP
from mode import Service

from oddtide.streams.agents.alerting import build_alerts
from oddtide.streams.agents.outbox import OutboxSender
from oddtide.streams.agents.projecting import Projector
from oddtide.streams.agents.roles import Role
from oddtide.streams.app import WorkerContext, batch_agent, make_app
from oddtide.streams.parts import WorkerParts
from oddtide.streams.ports import ReadModels
from oddtide.streams.transport import BatchApp

__all__ = ["build"]

ROLE = "observability"
_PROJECTED = ("detections", "quality", "drift", "alerts", "feedback")

_log = structlog.get_logger(__name__)


def build(context: WorkerContext, parts: WorkerParts) -> Service:
    """The observability role of a worker."""
    services: list[Service] = [build_alerts(context, parts.alerts)]
    if parts.read_models is None:
        _log.warning("projections are off: this worker has no read models", role=ROLE)
        return Role(services)
    projections = _projections(context, parts.read_models)
    services.append(projections)
    if parts.outbox is not None and parts.channels:
        holds = partial(_holds, projections, TP(context.catalogue.name("alerts"), 0))
        services.append(OutboxSender(parts.outbox, parts.channels, context.clock, may_send=holds))
    return Role(services)


def _projections(context: WorkerContext, read_models: ReadModels) -> BatchApp:
    projector = Projector(context, ROLE, read_models)
    app = make_app(context, ROLE, positions=projector.positions)
    batch_agent(app, [context.catalogue.name(role) for role in _PROJECTED], projector.handle, ROLE)
    return app


def _holds(app: BatchApp, wanted: TP) -> bool:
    """Whether the group gave this worker a partition, which makes it the one of all that project."""
    return any((tp.topic, tp.partition) == wanted for tp in app.consumer.assignment())
