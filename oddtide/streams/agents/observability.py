"""The observability role: alerts decided as events, everything projected into read models, people told.

Two Faust apps in one: ``alerts`` decides (one worker at a time, :mod:`.alerting`); ``observability`` projects
detections, quality, drift, alerts and feedback (every worker its partitions, :mod:`.projecting`). Where the worker has
no read models it still decides, and says that projections are off. The worker that decides also sends what waits in the
outbox, where it has one and channels.
"""

from __future__ import annotations

import structlog
from mode import Service

from oddtide.streams.agents.alerting import build_alerts
from oddtide.streams.agents.outbox import OutboxSender
from oddtide.streams.agents.projecting import Projector
from oddtide.streams.agents.roles import Role
from oddtide.streams.app import WorkerContext, batch_agent, make_app
from oddtide.streams.parts import WorkerParts
from oddtide.streams.ports import ReadModels

__all__ = ["build"]

ROLE = "observability"
_PROJECTED = ("detections", "quality", "drift", "alerts", "feedback")

_log = structlog.get_logger(__name__)


def build(context: WorkerContext, parts: WorkerParts) -> Service:
    """The observability role of a worker."""
    alerts, desk = build_alerts(context, parts.alerts)
    services: list[Service] = [alerts]
    if parts.read_models is None:
        _log.warning("projections are off: this worker has no read models", role=ROLE)
    else:
        services.append(_projections(context, parts.read_models))
    if parts.outbox is not None and parts.channels:
        services.append(OutboxSender(parts.outbox, parts.channels, context.clock, may_send=lambda: desk.is_ours))
    return Role(services)


def _projections(context: WorkerContext, read_models: ReadModels) -> Service:
    projector = Projector(context, ROLE, read_models)
    app = make_app(context, ROLE, positions=projector.positions)
    batch_agent(app, [context.catalogue.name(role) for role in _PROJECTED], projector.handle, ROLE)
    return app
