"""The projections, one file each, and the groups that an agent folds together."""

from __future__ import annotations

from oddtide.adapters.storage.projections.alerts import AlertsProjection
from oddtide.adapters.storage.projections.base import Content, Fact, Projection, Store
from oddtide.domain.errors import NotFoundError

__all__ = ["GROUPS", "PROJECTIONS", "Content", "Fact", "Projection", "Store", "find"]

PROJECTIONS: tuple[Projection, ...] = (AlertsProjection(),)

#: The names that ``fold`` and ``positions`` take.
GROUPS: tuple[str, ...] = tuple(dict.fromkeys(projection.group for projection in PROJECTIONS))


def find(name: str) -> tuple[Projection, ...]:
    """The projections of a group, or the one of this name. Raises ``NotFoundError``."""
    found = tuple(p for p in PROJECTIONS if p.group == name) or tuple(p for p in PROJECTIONS if p.name == name)
    if not found:
        known = ", ".join([*GROUPS, *sorted(p.name for p in PROJECTIONS)])
        raise NotFoundError(f"There is no projection {name!r}.", remedy=f"Known: {known}.")
    return found
