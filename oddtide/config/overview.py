"""What ``oddtide status`` shows, gathered from the cluster and the read models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oddtide.config.lagging import lag_rows
from oddtide.domain.errors import OddtideError
from oddtide.domain.readings import parse_rfc3339

if TYPE_CHECKING:
    from oddtide.adapters.kafka.admin import KafkaAdmin
    from oddtide.config.composition import Composition

__all__ = ["overview"]

_GONE = ("stopped", "lost", "silent")
_MANY = 10_000
_SHOWN = (
    "worker",
    "state",
    "roles",
    "host",
    "pid",
    "build",
    "readings_per_s",
    "memory_mib",
    "series",
    "asleep",
    "metrics",
)
_COUNTED = ("readings", "scored", "rejected", "skipped", "detections")


def overview(composition: Composition) -> dict[str, Any]:
    """The state of one installation as plain values.

    Raises ``BrokerUnreachableError`` without a Kafka. Read models that cannot be had leave their parts empty and a
    line in ``problems``.
    """
    found: dict[str, Any] = {
        "workers": [],
        "counts": dict.fromkeys(_COUNTED, 0),
        "alerts": None,
        "problems": [],
    }
    with composition.admin() as admin:
        found["cluster"] = _cluster(composition, admin)
        found["topics"] = _topics(composition, admin)
        rows = lag_rows(composition, admin)
    try:
        found |= _read(composition)
    except OddtideError as error:
        found["problems"].append(str(error))
    found["partitions"] = _owned([row for row in rows if row["role"] == "ingest"], found["workers"])
    found["lag"] = sum(row["lag"] for row in found["partitions"])
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
    """What the read models know: workers, sums of the ledger, alerts."""
    with composition.read_models() as models:
        totals = models.totals()
        return {
            "workers": [_worker(each, composition.clock()) for each in models.workers()],
            "counts": {name: totals[name] for name in _COUNTED},
            "rejected_by": totals["rejected_by"],
            "skipped_by": totals["skipped_by"],
            "alerts": len(models.alerts(states=("open", "acknowledged"), limit=_MANY)),
            "degraded": models.degraded(),
            "projector": models.projector_holder(),
        }


def _worker(answer: dict[str, Any], now: int) -> dict[str, Any]:
    beat = answer["heartbeat"]
    return {
        **{name: answer[name] for name in _SHOWN},
        "heartbeat_age_s": round((now - parse_rfc3339(beat)) / 1e9, 1) if beat else None,
        "partitions": [f"{place['topic']}[{place['partition']}]" for place in answer["partitions"]],
    }


def _owned(rows: list[dict[str, Any]], workers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The owners by the names that workers give themselves, where they have said so."""
    names = {place: each["worker"] for each in workers if each["state"] not in _GONE for place in each["partitions"]}
    return [{**row, "owner": names.get(f"{row['topic']}[{row['partition']}]", row["host"])} for row in rows]
