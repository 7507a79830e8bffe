"""One member of a consumer group holds every partition; the others stand by.

Some decisions mix partitions (grouping alerts, numbering a model's versions). They are taken by one worker at a time:
its group gives *all* partitions of all topics to one member, the present owner as long as it lives. When it leaves or
falls silent, Kafka rebalances the group and the next member takes over. A fenced writer (see
:mod:`oddtide.streams.agents.decisions`) holds off an owner that does not know yet that it was replaced.

This leans on two private hooks of Faust 0.15.3's assignor, which is pinned for the transport's sake already:
``_update_member_urls`` sees every member's metadata (with what it holds now), and
``_global_table_standby_assignments`` has the last word on assignments before they are sent.
``tests/integration/test_agents_alerts.py`` holds it to them.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

from faust.assignor.client_assignment import ClientAssignment, ClientMetadata
from faust.assignor.partition_assignor import PartitionAssignor

from oddtide.streams.transport import BatchApp

__all__ = ["SoleOwner", "own_alone"]


class SoleOwner(PartitionAssignor):
    """Gives everything to the member that holds most already; among equals, to the first by member id."""

    _owner: str = ""

    def _update_member_urls(self, clients_metadata: MutableMapping[str, ClientMetadata]) -> None:
        super()._update_member_urls(clients_metadata)
        held = {member: len(metadata.assignment.active_tps) for member, metadata in clients_metadata.items()}
        self._owner = min(held, key=lambda member: (-held[member], member))

    def _global_table_standby_assignments(
        self, assignments: MutableMapping[str, ClientAssignment], partitions_by_topic: Mapping[str, int]
    ) -> Any:
        everything = {topic: list(range(count)) for topic, count in sorted(partitions_by_topic.items())}
        for member in assignments:
            actives = everything if member == self._owner else {}
            assignments[member] = ClientAssignment(actives=actives, standbys={})
        return assignments


def own_alone(app: BatchApp) -> None:
    """Let one member of the app's group hold every partition. Call it before the app starts."""
    app.conf.PartitionAssignor = SoleOwner  # type: ignore[assignment]  # Faust types the setting as a symbol, not a class
