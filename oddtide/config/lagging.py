"""How far each role is behind, per partition, as the cluster's consumer groups say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oddtide.adapters.kafka.admin import GroupMember, KafkaAdmin
    from oddtide.config.composition import Composition

__all__ = ["ROLES", "lag_rows"]

#: The roles of workers.
ROLES = ("ingest", "observability", "mlops", "health")
#: The consumer groups ``<application>-<name>`` and their roles. What decides has one of its own beside what projects.
_GROUPS = {
    "ingest": "ingest",
    "observability": "observability",
    "alerts": "observability",
    "mlops": "mlops",
    "models": "mlops",
    "health": "health",
}


def lag_rows(composition: Composition, admin: KafkaAdmin) -> list[dict[str, Any]]:
    """One row per group and partition. A partition that nobody has committed on counts from its beginning."""
    ends: dict[str, dict[int, tuple[int, int]]] = {}
    names = set(admin.names())
    rows = []
    for name, role in _GROUPS.items():
        group = f"{composition.settings.application}-{name}"
        committed = admin.committed(group)
        owners = {place: member for member in admin.members(group) for place in member.partitions}
        topics = _expected(composition, role) | {topic for topic, _ in committed} | {topic for topic, _ in owners}
        for topic in sorted(topics & names):
            if topic not in ends:
                ends[topic] = admin.offsets(topic)
            for partition, span in sorted(ends[topic].items()):
                place = (topic, partition)
                row = _row(place, span, committed.get(place), owners.get(place))
                rows.append({"role": role, "group": group, **row})
    return rows


def _row(
    place: tuple[str, int], span: tuple[int, int], committed: int | None, owner: GroupMember | None
) -> dict[str, Any]:
    begin, end = span
    position = max(begin if committed is None else committed, begin)
    return {
        "topic": place[0],
        "partition": place[1],
        "position": position,
        "end": end,
        "lag": max(end - position, 0),
        "owner": owner.client_id if owner else None,
        "host": owner.host if owner else None,
    }


def _expected(composition: Composition, role: str) -> set[str]:
    return {plan.topic for plan in composition.plans()} if role == "ingest" else set()
