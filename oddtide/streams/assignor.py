"""Faust's assignor with our own shares: even ones that move few partitions (:mod:`oddtide.streams.assignment`).

Faust's own keeps partitions where they are even if a new member gets nothing by that. Each member tells the others
what it holds; where it was thrown out of the group (:func:`forget_what_was_held`), it has no claim to it any more:
others have it, with the state that belongs to it.

This leans on private parts of Faust 0.15.3, pinned for the transport's sake already: ``_perform_assignment`` is what
the group's leader computes, ``_get_client_metadata``, ``_update_member_urls`` and ``_protocol_assignments`` read and
write what members tell one another, ``_assignment`` is what this one tells.
``tests/integration/test_membership.py`` holds it to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from faust.assignor.client_assignment import ClientAssignment
from faust.assignor.partition_assignor import PartitionAssignor

from oddtide.streams.assignment import Place, Shares, share_out

__all__ = ["EvenAssignor", "forget_what_was_held"]


class EvenAssignor(PartitionAssignor):
    """Gives every member its share; who holds a partition keeps it if it can."""

    def shares(
        self, topics: Mapping[str, int], members: Mapping[str, set[str]], held: Mapping[str, set[Place]]
    ) -> Shares:
        """Who gets what."""
        return share_out(topics, members, held)

    def _perform_assignment(self, cluster: Any, member_metadata: Mapping[str, Any]) -> Any:
        clients = {member: self._get_client_metadata(metadata) for member, metadata in member_metadata.items()}
        self._update_member_urls(clients)
        members = {member: set(metadata.subscription) for member, metadata in member_metadata.items()}
        held = {member: {Place(*tp) for tp in client.assignment.active_tps} for member, client in clients.items()}
        sizes = {topic: len(cluster.partitions_for_topic(topic) or ()) for topic in set().union(*members.values())}
        topics = {topic: size for topic, size in sizes.items() if size}
        assignments = {member: _assignment(places) for member, places in self.shares(topics, members, held).items()}
        return self._protocol_assignments(assignments, {}, {}, dict.fromkeys(topics, 0))


def _assignment(places: set[Place]) -> ClientAssignment:
    actives: dict[str, list[int]] = {}
    for topic, partition in sorted(places):
        actives.setdefault(topic, []).append(partition)
    return ClientAssignment(actives=actives, standbys={})


def forget_what_was_held(assignor: Any) -> None:
    """Claim nothing when joining the group the next time."""
    assignor._assignment = ClientAssignment(actives={}, standbys={})
