"""Questions about the projections themselves."""

from __future__ import annotations

from sqlalchemy import func, select

from oddtide.adapters.storage.migrate import current_schema
from oddtide.adapters.storage.projections import GROUPS, find
from oddtide.adapters.storage.queries.base import Answer, Reader
from oddtide.adapters.storage.tables import TRACKING

__all__ = ["ProgressQueries"]


class ProgressQueries(Reader):
    """How far each group of projections is, and what it holds."""

    def projections(self) -> list[Answer]:
        """Per group: its projections, its next offset by topic and partition, the rows of its tables."""
        return [self._group(group) for group in GROUPS]

    def schema(self) -> str:
        """The database's schema; empty where it has none."""
        with self._database.reading() as connection:
            return current_schema(connection) or ""

    def _group(self, group: str) -> Answer:
        tracked = select(TRACKING).where(TRACKING.c.projection == group, TRACKING.c.position.is_not(None))
        rows = self._all(tracked.order_by(TRACKING.c.topic, TRACKING.c.partition))
        with self._database.reading() as connection:
            counts = {
                str(content.table): connection.execute(select(func.count()).select_from(content.table)).scalar_one()
                for projection in find(group) for content in projection.contents
            }  # fmt: skip
        return {
            "projection": group,
            "parts": [projection.name for projection in find(group)],
            "positions": [{name: row[name] for name in ("topic", "partition", "position")} for row in rows],
            "rows": counts,
        }
