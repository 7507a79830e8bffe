"""The projections, one file each, and the groups that an agent folds together."""

from __future__ import annotations

from oddtide.adapters.storage.projections.alerts import AlertsProjection
from oddtide.adapters.storage.projections.base import Content, Fact, Projection, Store
from oddtide.adapters.storage.projections.detections import DetectionsProjection
from oddtide.adapters.storage.projections.drift import DriftProjection
from oddtide.adapters.storage.projections.feedback import FeedbackProjection
from oddtide.adapters.storage.projections.ledger import LedgerProjection
from oddtide.adapters.storage.projections.models import ModelsProjection
from oddtide.adapters.storage.projections.quality import QualityProjection
from oddtide.adapters.storage.projections.workers import WorkersProjection
from oddtide.domain.errors import NotFoundError

__all__ = ["GROUPS", "PROJECTIONS", "Content", "Fact", "Projection", "Store", "find"]

PROJECTIONS: tuple[Projection, ...] = (
    DetectionsProjection(),
    AlertsProjection(),
    QualityProjection(),
    DriftProjection(),
    FeedbackProjection(),
    WorkersProjection(),
    LedgerProjection(),
    ModelsProjection(),
)

#: The names that ``fold`` and ``positions`` take.
GROUPS: tuple[str, ...] = tuple(dict.fromkeys(projection.group for projection in PROJECTIONS))


def find(name: str) -> tuple[Projection, ...]:
    """The projections of a group, or the one of this name. Raises ``NotFoundError``."""
    found = tuple(p for p in PROJECTIONS if p.group == name) or tuple(p for p in PROJECTIONS if p.name == name)
    if not found:
        known = ", ".join([*GROUPS, *sorted(p.name for p in PROJECTIONS)])
        raise NotFoundError(f"There is no projection {name!r}.", remedy=f"Known: {known}.")
    return found
