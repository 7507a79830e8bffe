"""What ``oddtide status`` shows, gathered from the cluster and the read models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oddtide.config.lagging import lag_rows
from oddtide.domain.errors import OddtideError

if TYPE_CHECKING:
    from oddtide.adapters.kafka.admin import KafkaAdmin
    from oddtide.config.composition import Composition

__all__ = ["overview"]

_COUNTED = ("readings", "scored", "rejected", "skipped", "detections")


def overview(composition: Composition) -> dict[str, Any]:
    """The state of one installation as plain values.

    Raises ``BrokerUnreachableError`` without a Kafka. Read models that cannot be had leave their parts empty and a
    line in ``problems``.
    """
    found: dict[str, Any] = {
        "workers": [],
        "counts": dict.fromkeys(_COUNTED, 0),
        "open_alerts": None,
        "problems": [],
    }
    with composition.admin() as admin:
        found["cluster"] = _cluster(composition, admin)
        found["topics"] = _topics(composition, admin)
        rows = lag_rows(composition, admin)
    found["partitions"] = [row for row in rows if row["role"] == "ingest"]
    found["lag"] = sum(row["lag"] for row in found["partitions"])
    try:
        found |= _read(composition)
    except OddtideError as error:
        found["problems"].append(str(error))
    return found


def _cluster(composition: Composition, admin: KafkaAdmin) -> dict[str, Any]:
    embedded = composition.settings.embedded_kafka
    status = composition.embedded().status() if embedded else None
    return {
        "bootstrap": composition.bootstrap,
        "brokers": admin.ping(),
        "kind": "embedded" if embedded else "external",
        "pid": status.pid if status else None,
    }


def _topics(composition: Composition, admin: KafkaAdmin) -> dict[str, Any]:
    specs = composition.catalogue().all()
    kinds = {each.topic: each.kind for each in admin.mismatches(specs)}
    missing = sum(kind == "missing" for kind in kinds.values())
    return {"declared": len(specs), "missing": missing, "different": len(kinds) - missing}


def _read(composition: Composition) -> dict[str, Any]:
    raise NotImplementedError
