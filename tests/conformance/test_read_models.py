"""What every database of read models must do. Each test runs on SQLite and on a real PostgreSQL server."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest

from oddtide.adapters.storage import SqlReadModels
from oddtide.adapters.storage.projections import GROUPS
from oddtide.domain.drift.events import DetectorAdapted, DriftWarned
from oddtide.domain.errors import NotFoundError
from oddtide.domain.mlops.events import ModelEvaluated, TrainingFailed
from oddtide.domain.observability.events import (
    AgentDegraded,
    CommandRefused,
    LedgerBroken,
    PartitionHealth,
    WorkerStopped,
)
from oddtide.domain.profiling.events import ProfileUpdated
from oddtide.domain.quality.events import ContractViolated
from oddtide.streams.ports import LoggedEvent, ReadModels
from tests import read_model_events as make
from tests.read_model_events import NOW, SECOND, Log, at

pytest_plugins = ("tests.postgres",)

ALERTS = "oddtide.alerts"
DETECTIONS = "oddtide.detections"
LEDGER = "oddtide.readings.ledger"
HEALTH = "oddtide.health"
MODELS = "oddtide.models"


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def models(database_url: str, clock: Clock) -> Iterator[SqlReadModels]:
    with SqlReadModels(database_url, clock=clock, channels=("webhook", "pager"), keep=5) as found:
        yield found


@pytest.fixture
def log() -> Log:
    return Log()


def fold(models: ReadModels, group: str, events: Sequence[LoggedEvent]) -> None:
    models.fold(group, events, {(e.topic, e.partition): e.offset + 1 for e in events})


# ---------------------------------------------------------------- positions


def test_a_new_database_begins_at_the_beginning(models: SqlReadModels) -> None:
    assert {group: models.positions(group) for group in GROUPS} == {group: {} for group in GROUPS}


def test_positions_move_with_the_fold_and_by_group(models: SqlReadModels, log: Log) -> None:
    fold(models, "observability", [log.append(ALERTS, make.opened("a")), log.append(DETECTIONS, make.detection("v"))])
    models.fold("observability", [], {(DETECTIONS, 3): 12})
    assert models.positions("observability") == {(ALERTS, 0): 1, (DETECTIONS, 0): 1, (DETECTIONS, 3): 12}
    assert models.positions("health") == {}


def test_positions_never_move_back_and_are_beyond_what_was_folded(models: SqlReadModels, log: Log) -> None:
    events = [log.append(ALERTS, make.opened(str(n))) for n in range(4)]
    models.fold("observability", events, {(ALERTS, 0): 2})
    models.fold("observability", [], {(ALERTS, 0): 1})
    assert models.positions("observability") == {(ALERTS, 0): 4}


def test_what_was_folded_is_not_folded_again(models: SqlReadModels, log: Log) -> None:
    events = [log.append(LEDGER, make.batch(0, 10)), log.append(LEDGER, make.batch(10, 20))]
    fold(models, "health", events)
    before = models.content_hash("health")
    fold(models, "health", events)
    fold(models, "health", events[:1] * 3)
    assert models.content_hash("health") == before
    assert models.totals()["records"] == 20


def test_a_fold_that_fails_changes_nothing(models: SqlReadModels, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    fold(models, "observability", [log.append(ALERTS, make.opened("a"))])
    before = models.content_hash("observability"), models.positions("observability")

    def breaks(*_: object) -> None:
        raise RuntimeError("in the middle")

    monkeypatch.setattr("oddtide.adapters.storage.tracking.save", breaks)
    events = [log.append(ALERTS, make.opened("b")), log.append(DETECTIONS, make.detection("v"))]
    with pytest.raises(RuntimeError):
        fold(models, "observability", events)
    monkeypatch.undo()
    assert (models.content_hash("observability"), models.positions("observability")) == before
    assert models.notifications() == {"pending": 2}


@pytest.mark.parametrize("call", ["positions", "content_hash", "reset", "fold"])
def test_an_unknown_projection_is_named(models: SqlReadModels, call: str) -> None:
    arguments: tuple[object, ...] = ("metrics", [], {}) if call == "fold" else ("metrics",)
    with pytest.raises(NotFoundError, match="'metrics'"):
        getattr(models, call)(*arguments)


def test_threads_may_fold_and_read_at_once(models: SqlReadModels) -> None:
    failures: list[BaseException] = []

    def work(group: str, topic: str, partition: int) -> None:
        own = Log()
        try:
            for n in range(20):
                event = make.opened(f"{partition}-{n}") if group == "observability" else make.batch(n, n + 1)
                fold(models, group, [own.append(topic, event, partition=partition)])
                models.positions(group)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=("observability", ALERTS, n)) for n in range(3)]
    threads.append(threading.Thread(target=work, args=("health", LEDGER, 0)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert models.positions("observability") == {(ALERTS, n): 20 for n in range(3)}
    assert models.totals()["records"] == 20
    assert len(models.alerts(limit=100)) == 60


# ---------------------------------------------------------------- rebuild


def test_a_rebuild_gives_the_same_content(models: SqlReadModels, log: Log) -> None:
    events = [
        log.append(ALERTS, make.opened("a")), log.append(DETECTIONS, make.detection("v")),
        log.append(ALERTS, make.acknowledged("a")), log.append("oddtide.quality", make.violated("q")),
        log.append("oddtide.drift", make.drifted("d")), log.append("oddtide.feedback", make.given("f")),
    ]  # fmt: skip
    fold(models, "observability", events)
    before, positions = models.content_hash("observability"), models.positions("observability")
    models.reset("observability")
    assert models.positions("observability") == {}
    assert models.content_hash("observability") != before
    for event in sorted(events, key=lambda event: (event.topic, event.offset)):
        fold(models, "observability", [event])
    assert (models.content_hash("observability"), models.positions("observability")) == (before, positions)


def test_a_reset_leaves_other_groups_alone(models: SqlReadModels, log: Log) -> None:
    fold(models, "mlops", [log.append(MODELS, make.registered("m"))])
    models.reset("observability")
    assert models.positions("mlops") == {(MODELS, 0): 1}
    assert models.model("m") is not None


def test_each_projection_has_a_hash_of_its_own(models: SqlReadModels, log: Log) -> None:
    quality = models.content_hash("quality")
    fold(models, "observability", [log.append(ALERTS, make.opened("a"))])
    assert models.content_hash("quality") == quality
    assert models.content_hash("alerts") == models.content_hash("observability")


# ---------------------------------------------------------------- notifications


def test_an_opened_alert_is_notified_once_per_channel(models: SqlReadModels, log: Log, clock: Clock) -> None:
    fold(models, "observability", [log.append(ALERTS, make.opened("a"), id="x"), log.append(ALERTS, make.updated("a"))])
    fold(models, "observability", [log.append(ALERTS, make.opened("a"), id="x")])
    due = models.pending_notifications(clock.now)
    assert sorted((n.alert, n.channel, n.attempts, n.created) for n in due) == [
        ("a", "pager", 0, at(0)), ("a", "webhook", 0, at(0)),
    ]  # fmt: skip
    assert '"alert":"a"' in due[0].body
    assert len(models.pending_notifications(clock.now, limit=1)) == 1


def test_what_is_sent_failed_or_waits_is_not_due(models: SqlReadModels, log: Log, clock: Clock) -> None:
    fold(models, "observability", [log.append(ALERTS, make.opened("a")), log.append(ALERTS, make.opened("b"))])
    sent, waits, failed, due = models.pending_notifications(clock.now)
    models.mark_sent(sent.id, clock.now)
    models.mark_failed(waits.id, "HTTP 503", clock.now + SECOND)
    models.mark_failed(failed.id, "HTTP 404", None)
    assert [n.id for n in models.pending_notifications(clock.now)] == [due.id]
    again = {n.id: n.attempts for n in models.pending_notifications(clock.now + SECOND)}
    assert again == {due.id: 0, waits.id: 1}
    assert models.notifications() == {"failed": 1, "pending": 2, "sent": 1}
    models.mark_sent("unknown", clock.now)


def test_a_rebuild_notifies_nobody_and_keeps_what_waits(models: SqlReadModels, log: Log, clock: Clock) -> None:
    quiet = SqlReadModels(models._database.address.url.render_as_string(hide_password=False), clock=clock)
    events = [log.append(ALERTS, make.opened("a"))]
    fold(quiet, "observability", events)
    quiet.close()
    models.reset("observability")
    models.reset("observability")
    fold(models, "observability", events)
    assert models.notifications() == {}
    fold(models, "observability", [log.append(ALERTS, make.opened("b"))])
    assert models.notifications() == {"pending": 2}
    models.reset("observability")
    assert models.notifications() == {"pending": 2}


def test_old_alerts_are_no_news(models: SqlReadModels, log: Log, clock: Clock) -> None:
    hour_ago = clock.now // 1_000_000 - 3_600_001
    fold(models, "observability", [log.append(ALERTS, make.opened("a"), timestamp=hour_ago)])
    assert models.notifications() == {}
    assert [row["alert"] for row in models.alerts()] == ["a"]


# ---------------------------------------------------------------- alerts


def test_an_alert_with_its_life(models: SqlReadModels, log: Log) -> None:
    lifecycle = [
        make.opened("a"), make.updated("a", second=5, count=3, severity="critical"), make.acknowledged("a"),
        make.resolved("a"), CommandRefused(command="ResolveAlert", target="a", reason="resolved", time=at(3)),
    ]  # fmt: skip
    fold(models, "observability", [log.append(ALERTS, event) for event in lifecycle])
    alert = models.alert("a")
    assert alert["state"] == "resolved"
    assert (alert["count"], alert["severity"], alert["opened"], alert["last"]) == (3, "critical", at(0), at(5))
    assert (alert["acknowledged"], alert["acknowledged_by"], alert["acknowledged_note"]) == (at(1), "ada", "on it")
    assert (alert["resolved"], alert["resolved_how"]) == (at(2), "quiet")
    assert [step["type"] for step in alert["history"]] == [
        "AlertOpened", "AlertAcknowledged", "AlertResolved", "CommandRefused", "AlertUpdated",
    ]  # fmt: skip
    assert models.alerts()[0].items() <= alert.items()


def test_an_alert_decided_twice_counts_once(models: SqlReadModels, log: Log) -> None:
    first = [log.append(ALERTS, make.opened("a"), id="1"), log.append(ALERTS, make.updated("a", count=2), id="2")]
    fold(models, "observability", [*first, log.append(ALERTS, make.updated("a", count=3), id="3")])
    before = models.content_hash("alerts")
    fold(models, "observability", [log.append(ALERTS, make.updated("a", count=2), id="2")])
    assert models.content_hash("alerts") == before


def test_of_two_acknowledgements_the_later_is_shown(models: SqlReadModels, log: Log) -> None:
    events = [make.opened("a"), make.acknowledged("a", second=5, by="bob"), make.acknowledged("a", second=1)]
    fold(models, "observability", [log.append(ALERTS, event) for event in events])
    assert (models.alert("a")["acknowledged_by"], models.alert("a")["acknowledged"]) == ("bob", at(5))
    assert len(models.alert("a")["history"]) == 3


def test_the_list_of_alerts_can_be_narrowed(models: SqlReadModels, log: Log) -> None:
    events = [
        make.opened("a", second=1), make.opened("b", second=2, series="pump-2", severity="critical"),
        make.acknowledged("b"), make.opened("c", second=3), make.resolved("c"), make.opened("aa", second=0),
        make.acknowledged("unknown"),
    ]  # fmt: skip
    fold(models, "observability", [log.append(ALERTS, event) for event in events])
    assert [row["alert"] for row in models.alerts()] == ["c", "b", "a", "aa"]
    assert [row["alert"] for row in models.alerts(states=("open", "acknowledged"))] == ["b", "a", "aa"]
    assert [row["alert"] for row in models.alerts(severity="critical")] == ["b"]
    assert [row["alert"] for row in models.alerts(series="pump-2")] == ["b"]
    assert [row["alert"] for row in models.alerts(since=NOW + 2 * SECOND)] == ["c", "b"]
    assert [row["alert"] for row in models.alerts(limit=1)] == ["c"]
    assert models.alert_ids("a") == ["a", "aa"]
    assert models.alert_ids("A") == []
    assert models.alert_ids("%") == []
    for nobody in ("unknown", "z"):
        with pytest.raises(NotFoundError):
            models.alert(nobody)


# ---------------------------------------------------------------- findings


def test_detections_newest_first_and_no_more_than_are_kept(models: SqlReadModels, log: Log) -> None:
    events = [log.append(DETECTIONS, make.detection(f"v{n}", second=n, offset=n), id=f"v{n}") for n in range(12)]
    for event in events:
        fold(models, "observability", [event])
    assert [row["id"] for row in models.detections()] == ["v11", "v10", "v9", "v8", "v7"]
    assert models.detections(limit=1)[0]["score"] == 7.25
    assert models.detections(series="pump-2") == []
    (series,) = models.detection_series(stream="readings")
    assert (series["series"], series["count"], series["newest"]) == ("pump-1", 12, at(11))
    assert series["detection"]["id"] == "v11"
    assert models.detection_series(stream="other") == []
    found = models.detection("v11")
    assert found is not None
    assert found["series"] == "pump-1"
    assert models.detection("v0") is None


def test_what_is_cleared_away_is_no_content(database_url: str, log: Log, clock: Clock) -> None:
    events = [log.append(DETECTIONS, make.detection(f"v{n}", second=n % 7, offset=n)) for n in range(40)]
    with SqlReadModels(database_url, clock=clock, keep=20) as models:
        fold(models, "observability", events)
        at_once = models.content_hash("detections")
        models.reset("observability")
        for event in events:
            fold(models, "observability", [event])
        assert models.content_hash("detections") == at_once
        assert models.projections()[0]["rows"]["detections"] <= 22
        assert len(models.detections(limit=100)) == 20


def test_quality(models: SqlReadModels, log: Log) -> None:
    quality: list[ContractViolated | ProfileUpdated] = [
        make.violated("q1", offset=1), make.violated("q2", offset=2), make.violated("q3", offset=2, rule="order"),
        make.violated("q2", offset=2), make.profile(10, offset=10), make.profile(20, offset=20),
        make.profile(10, offset=10),
    ]  # fmt: skip
    fold(models, "observability", [log.append("oddtide.quality", event, id=event.id) for event in quality])
    batch = make.batch(0, 9, scored=4, rejected={"not_json": 3}, skipped={"late": 2})
    fold(models, "health", [log.append(LEDGER, batch)])
    summary = models.quality()
    assert [(row["rule"], row["count"], row["newest"]) for row in summary["violations"]] == [
        ("range", 2, at(2)), ("order", 1, at(2)),
    ]  # fmt: skip
    assert summary["rejected"] == [{"stream": "readings", "reason": "not_json", "count": 3}]
    assert summary["skipped"] == [{"stream": "readings", "reason": "late", "count": 2}]
    assert models.quality(stream="other") == {"violations": [], "rejected": [], "skipped": []}
    assert [row["id"] for row in models.violations()] == ["q3", "q2", "q1"]
    assert [row["readings"] for row in models.profiles()] == [20]
    assert models.profiles(series="pump-2", stream="readings") == []


def test_drift(models: SqlReadModels, log: Log) -> None:
    events: list[DriftWarned | DetectorAdapted] = [
        make.warned("w", offset=1), make.drifted("d", offset=2), make.adapted("a", offset=2),
    ]  # fmt: skip
    fold(models, "observability", [log.append("oddtide.drift", event, id=event.id) for event in [*events, *events]])
    assert [(row["type"], row["id"]) for row in models.drift()] == [
        ("DriftDetected", "d"), ("DetectorAdapted", "a"), ("DriftWarned", "w"),
    ]  # fmt: skip
    assert [(row["type"], row["watched"], row["count"]) for row in models.drift_counts(stream="readings")] == [
        ("DetectorAdapted", "ewma", 1), ("DriftDetected", "score", 1), ("DriftWarned", "score", 1),
    ]  # fmt: skip


def test_feedback_and_its_withdrawal_in_any_order(models: SqlReadModels, log: Log) -> None:
    topic = "oddtide.feedback"
    fold(models, "observability", [log.append(topic, make.withdrawn("f1"), partition=1)])
    assert models.feedback() == []
    first, second = make.given("f1", second=1), make.given("f2", verdict="v2", second=2)
    fold(models, "observability", [log.append(topic, event, id=event.id) for event in (first, second, second)])
    newest, older = models.feedback()
    assert (newest["id"], newest["label"], newest["withdrawn"]) == ("f2", "dismissed", "")
    assert (older["id"], older["withdrawn"], older["withdrawn_by"]) == ("f1", at(1), "bob")
    assert [row["id"] for row in models.feedback(standing=True)] == ["f2"]
    assert [row["id"] for row in models.feedback(verdict="v1")] == ["f1"]


# ---------------------------------------------------------------- health


def test_the_ledger_sums_up_and_says_what_is_missing(models: SqlReadModels, log: Log) -> None:
    batches = [
        make.batch(5, 10, scored=3, rejected={"a": 1}, skipped={"b": 1}, detections=2), make.batch(10, 20),
        make.batch(12, 18), make.batch(25, 30, holes=0), make.batch(28, 40, records=11, rejected={"a": 4}),
    ]  # fmt: skip
    fold(models, "health", [log.append(LEDGER, batch) for batch in batches])
    fold(models, "health", [log.append(LEDGER, make.batch(0, 7, partition=1), partition=1)])
    first, second = models.partitions()
    assert (first["first_offset"], first["position"], first["batches"], first["records"]) == (5, 40, 4, 31)
    assert (first["gaps"], first["missing"], first["repeated"], first["unbalanced"]) == (1, 5, 2, 1)
    assert (first["worker"], first["state"], first["lag"], first["last"]) == ("", "unassigned", -1, at(40))
    assert (second["partition"], second["position"], second["hash"]) == (1, 7, f"{7:016x}")
    totals = models.totals()
    assert (totals["records"], totals["rejected"], totals["detections"]) == (38, 5, 2)
    assert (totals["rejected_by"], totals["skipped_by"]) == ({"a": 5}, {"b": 1})


def test_who_has_which_partition(models: SqlReadModels, log: Log) -> None:
    place = PartitionHealth(topic="oddtide.readings", partition=0, position=7, end=9, lag=2)
    other = PartitionHealth(topic="oddtide.readings", partition=1, position=3, end=3, lag=0)
    events = [
        make.started("w1"), make.beat("w1", second=1, partitions=[place]), make.started("w2"),
        make.beat("w2", second=2, partitions=[other]), WorkerStopped(worker="w2", time=at(3), reason="signal"),
    ]  # fmt: skip
    fold(models, "health", [log.append(HEALTH, event) for event in events])
    fold(models, "health", [log.append(LEDGER, make.batch(0, 5))])
    assert [(row["worker"], row["state"]) for row in models.workers()] == [("w1", "running"), ("w2", "stopped")]
    (owned,) = models.partitions()
    assert (owned["worker"], owned["position"], owned["end"], owned["lag"], owned["records"]) == ("w1", 7, 9, 2, 5)
    fold(models, "health", [log.append(HEALTH, make.beat("w3", second=4, partitions=[other]))])
    owners = [(row["partition"], row["worker"], row["records"]) for row in models.partitions()]
    assert owners == [(0, "w1", 5), (1, "w3", 0)]


def test_the_states_of_a_worker(models: SqlReadModels, log: Log, clock: Clock) -> None:
    def state() -> str:
        return str(models.workers()[0]["state"])

    def log_and_fold(event: object, second: float) -> None:
        stamp = (NOW + int(second * SECOND)) // 1_000_000
        fold(models, "health", [log.append(HEALTH, event, timestamp=stamp)])  # type: ignore[arg-type]  # any event

    log_and_fold(make.started("w"), 0)
    assert state() == "starting"
    log_and_fold(make.beat("w", second=1, state="rebalancing"), 1)
    assert state() == "rebalancing"
    clock.now += 22 * SECOND
    assert state() == "silent"
    log_and_fold(make.lost("w", last=1, second=22), 22)
    assert state() == "lost"
    log_and_fold(make.beat("w", second=22), 23)
    assert state() == "running"
    log_and_fold(make.beat("w", second=5), 24)
    assert models.workers()[0]["heartbeat"] == at(22)
    log_and_fold(WorkerStopped(worker="w", time=at(24)), 25)
    assert state() == "stopped"


def test_what_is_degraded_and_where_the_ledger_is_broken(models: SqlReadModels, log: Log) -> None:
    degraded = [AgentDegraded(worker="w", part="river", reason="slow", remedy="wait", time=at(n)) for n in (2, 1)]
    broken = LedgerBroken(stream="s", topic="t", partition=0, offset=5, problem="gap", time=at(0))
    fold(models, "health", [log.append(HEALTH, event) for event in [*degraded, broken]])
    assert [row["time"] for row in models.degraded()] == [at(2)]
    assert [row["problem"] for row in models.ledger_breaks()] == ["gap"]


# ---------------------------------------------------------------- models


def test_the_model_registry(models: SqlReadModels, log: Log) -> None:
    evaluated = ModelEvaluated(model="m", version=1, data="nab", metrics={"auc": 0.9}, time=at(4))
    failed = TrainingFailed(model="m", stream="readings", algorithm="pyod:IForest", reason="too few", time=at(5))
    refused = CommandRefused(command="PromoteModel", target="m", reason="no version 9", time=at(6))
    events = [
        make.registered("m"), make.trained("m", 1), make.trained("m", 2), evaluated, failed, refused,
        make.promoted("m", 1), make.promoted("m", 2, alias="challenger"), make.trained("other", 1),
    ]  # fmt: skip
    fold(models, "mlops", [log.append(MODELS, event, id=f"e{n}") for n, event in enumerate(events)])
    assert [(m["model"], m["detector"], m["versions"], m["newest"]) for m in models.models()] == [
        ("m", "iforest", 2, 2), ("other", "", 1, 1),
    ]  # fmt: skip
    model = models.model("m")
    assert model is not None
    assert (model["champion"], model["challenger"]) == (1, 2)
    assert model["aliases"] == {"challenger": 2, "champion": 1}
    assert [(v["version"], v["aliases"]) for v in model["versions"]] == [(2, ["challenger"]), (1, ["champion"])]
    assert model["versions"][1]["evaluations"] == [{"data": "nab", "metrics": {"auc": 0.9}, "time": at(4)}]
    assert model["versions"][1]["metrics"] == {"contamination": 0.1}
    assert [step["type"] for step in model["history"]][3:6] == ["ModelEvaluated", "TrainingFailed", "CommandRefused"]
    assert models.model("unknown") is None


def test_a_promotion_logged_twice_does_not_come_back(models: SqlReadModels, log: Log) -> None:
    events = [make.trained("m", 1), make.trained("m", 2), make.promoted("m", 1), make.promoted("m", 2)]
    fold(models, "mlops", [log.append(MODELS, event, id=f"e{n}") for n, event in enumerate(events)])
    before = models.content_hash("mlops")
    fold(models, "mlops", [log.append(MODELS, make.promoted("m", 1), id="e2")])
    fold(models, "mlops", [log.append(MODELS, make.trained("m", 2, rows=7), id="e1")])
    assert models.content_hash("mlops") == before


def test_a_versions_number_is_never_used_twice(models: SqlReadModels, log: Log) -> None:
    events = [make.registered("m"), make.trained("m", 1), make.trained("m", 1, rows=7)]
    fold(models, "mlops", [log.append(MODELS, event) for event in events])
    model = models.model("m")
    assert model is not None
    assert [(version["version"], version["rows"]) for version in model["versions"]] == [(1, 1_000)]


# ---------------------------------------------------------------- locks


def test_the_projector_lock(models: SqlReadModels, database_url: str, clock: Clock) -> None:
    other = SqlReadModels(database_url, clock=clock)
    assert models.projector_holder() is None
    lock = models.acquire_projector_lock("worker-1", alone=True)
    assert lock is not None
    assert lock.holder == other.projector_holder() == "worker-1"
    assert other.acquire_projector_lock("worker-2") is None
    lock.release()
    lock.release()
    second = other.acquire_projector_lock("worker-2")
    assert second is not None
    with second:
        assert models.acquire_projector_lock("rebuild", alone=True) is None
        assert models.projector_holder() == "worker-2"
    assert models.projector_holder() is None
    other.close()


# ---------------------------------------------------------------- schema and odd content


def test_opening_again_finds_everything(database_url: str, log: Log, clock: Clock) -> None:
    with SqlReadModels(database_url, clock=clock) as models:
        fold(models, "observability", [log.append(ALERTS, make.opened("a"))])
        before = models.content_hash("observability")
    with SqlReadModels(database_url, clock=clock) as models:
        assert models.content_hash("observability") == before
        assert models.schema() == "0001"
        status = {group["projection"]: group for group in models.projections()}
        assert status["observability"]["positions"] == [{"topic": ALERTS, "partition": 0, "position": 1}]
        assert status["observability"]["rows"]["alerts"] == 1
        assert status["health"]["parts"] == ["workers", "ledger"]


@pytest.mark.parametrize(
    "text", ["\x00", "a\x00b\u2400", "\u2400\u24000", "ü🌊", "'; DROP TABLE alerts; --", "x" * 20_000, "%_", " ", ""]
)
def test_any_text_is_kept(models: SqlReadModels, log: Log, text: str) -> None:
    event = make.opened(text, series=text, summary=text)
    fold(models, "observability", [log.append(ALERTS, event, id=text), log.append(ALERTS, make.acknowledged(text))])
    fold(models, "observability", [log.append(DETECTIONS, make.detection("v", series=text), id=text)])
    alert = models.alert(text)
    assert (alert["alert"], alert["series"], alert["summary"], alert["state"]) == (text, text, text, "acknowledged")
    assert [row["alert"] for row in models.alerts(series=text)] == [text]
    assert [row["series"] for row in models.detections(series=text)] == [text]


def test_odd_numbers_and_times_stall_nothing(models: SqlReadModels, log: Log) -> None:
    odd = make.opened("a", count=10**30, last="yesterday", p_value=float("inf"))
    fold(models, "observability", [log.append(ALERTS, odd)])
    fold(models, "observability", [log.append(DETECTIONS, make.detection("v", score=float("nan"), p_value=-0.0))])
    assert models.alert("a")["count"] == 2**63 - 1
    assert models.alert("a")["last"] == "1970-01-01T00:00:00Z"
    assert models.detection("oddtide.detections-0-0") is not None


def test_an_event_without_an_id_is_known_by_its_place(models: SqlReadModels, log: Log) -> None:
    fold(models, "observability", [log.append(ALERTS, make.opened(name), id="") for name in ("a", "b")])
    assert [len(models.alert(name)["history"]) for name in ("a", "b")] == [1, 1]
