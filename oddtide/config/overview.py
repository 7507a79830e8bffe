"""What ``oddtide status`` shows, gathered from the cluster and the read models."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from oddtide.config.lagging import lag_rows
from oddtide.domain.errors import OddtideError
from oddtide.domain.readings import parse_rfc3339

if TYPE_CHECKING:
    from oddtide.adapters.kafka.admin import KafkaAdmin
    from oddtide.config.composition import Composition

__all__ = ["Watch", "overview"]

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
        "partitions": [_place(place) for place in answer["partitions"]],
        "restoring": {_place(place): place for place in answer["partitions"] if place["state"] != "running"},
    }


def _place(row: dict[str, Any]) -> str:
    return f"{row['topic']}[{row['partition']}]"


def _owned(rows: list[dict[str, Any]], workers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The owners by the names that workers give themselves, where they have said so, and what they say of each."""
    there = [each for each in workers if each["state"] not in _GONE]
    names = {place: each["worker"] for each in there for place in each["partitions"]}
    said = {place: state for each in there for place, state in each["restoring"].items()}
    return [{**row, "owner": names.get(_place(row), row["host"]), **_state(row, said.get(_place(row)))} for row in rows]


def _state(row: dict[str, Any], said: dict[str, Any] | None) -> dict[str, Any]:
    if said is not None:
        return {"state": said["state"], "restored": said.get("restored", 1.0), "eta_s": said.get("eta_s", -1.0)}
    return {"state": "running" if row["owner"] else "nobody has it", "restored": 1.0, "eta_s": 0.0}


class Watch:
    """Looks again and again, and says how fast things change: ``rates`` a second, from the second look on.

    What does not answer for a while ends nothing: the last look is repeated with a line in ``problems``.
    """

    def __init__(self, composition: Composition, clock: Callable[[], float] = time.monotonic) -> None:
        self._composition = composition
        self._clock = clock
        self._last: tuple[float, dict[str, Any]] | None = None

    def look(self) -> dict[str, Any]:
        """The state now. Raises what :func:`overview` does only at the first look."""
        now = self._clock()
        try:
            found = overview(self._composition)
        except OddtideError as error:
            if self._last is None:
                raise
            return {**self._last[1], "rates": {}, "problems": [str(error)]}
        rates = _rates(self._last, now, found) if self._last else {}
        self._last = (now, found)
        return {**found, "rates": rates}


def _rates(last: tuple[float, dict[str, Any]], now: float, found: dict[str, Any]) -> dict[str, float]:
    then, before = last
    figures = {**found["counts"], "lag": found["lag"]}
    earlier = {**before["counts"], "lag": before["lag"]}
    return {name: round((value - earlier[name]) / max(now - then, 1e-3), 1) for name, value in figures.items()}
