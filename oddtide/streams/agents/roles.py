"""A role that is made of several services."""

from __future__ import annotations

from collections.abc import Sequence

from mode import Service

__all__ = ["Role"]


class Role(Service):
    """Several services as one: they start in order, stop in reverse, and a crash of one is a crash of the role."""

    def __init__(self, services: Sequence[Service]) -> None:
        super().__init__()
        for service in services:
            self.add_dependency(service)
