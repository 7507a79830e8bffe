"""One member of a consumer group holds every partition; the others stand by.

Some decisions mix partitions (grouping alerts, numbering a model's versions). They are taken by one worker at a time:
its group gives *all* partitions of all topics to one member, the present owner as long as it lives. When it leaves or
falls silent, Kafka rebalances the group and the next member takes over. A fenced writer (see
:mod:`oddtide.streams.agents.decisions`) holds off an owner that does not know yet that it was replaced.
"""

from __future__ import annotations

from collections.abc import Mapping

from oddtide.streams.assignment import Place, Shares
from oddtide.streams.assignor import EvenAssignor
from oddtide.streams.transport import BatchApp

__all__ = ["SoleOwner", "own_alone"]


class SoleOwner(EvenAssignor):
    """Gives everything to the member that holds most already; among equals, to the first by member id."""

    def shares(
        self, topics: Mapping[str, int], members: Mapping[str, set[str]], held: Mapping[str, set[Place]]
    ) -> Shares:
        """Everything to one."""
        owner = min(members, key=lambda member: (-len(held[member]), member))
        everything = {Place(topic, partition) for topic, number in topics.items() for partition in range(number)}
        return {member: everything if member == owner else set() for member in members}


def own_alone(app: BatchApp) -> None:
    """Let one member of the app's group hold every partition. Call it before the app starts."""
    app.conf.PartitionAssignor = SoleOwner  # type: ignore[assignment]  # Faust types the setting as a symbol, not a class
