"""The questions that the read models answer. They change nothing and see one state of the database each."""

from __future__ import annotations

from oddtide.adapters.storage.queries.alerts import AlertQueries
from oddtide.adapters.storage.queries.base import Answer
from oddtide.adapters.storage.queries.findings import FindingQueries
from oddtide.adapters.storage.queries.health import HealthQueries
from oddtide.adapters.storage.queries.progress import ProgressQueries
from oddtide.adapters.storage.queries.registry import RegistryQueries

__all__ = ["Answer", "Queries"]


class Queries(AlertQueries, FindingQueries, HealthQueries, RegistryQueries, ProgressQueries):
    """All of them."""
