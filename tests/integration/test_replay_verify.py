"""``oddtide replay --verify`` on a real Kafka: a sound history is verified; tampering is found at its first verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import pytest

from oddtide.domain.detection.events import AnomalyDetected
from oddtide.domain.observability.ledger import BatchCompleted, EpochOpened
from oddtide.domain.readings import rfc3339
from oddtide.streams.pipeline.processor import PartitionProcessor
from oddtide.streams.results import ResultRecord
from tests.integration.history_kit import T0_MS, History, answer, history, ledger_changed, ordinary, run

__all__ = ["history"]


def test_a_sound_history_is_verified_in_whole_and_in_part(history: History) -> None:
    history.push(ordinary(100, spikes=[60, 90]))
    history.push(ordinary(5), abort=True)
    history.push([b"{oops", *ordinary(50, start=100)])
    history.push(ordinary(30), partition=1)
    history.publish(batch=10)
    history.push(ordinary(3, start=30), partition=1)
    before = history.ends()
    first, second = answer("replay", "--verify", "--jobs", "2")
    end = before[history.topic][0][1]
    assert (first["status"], first["from"], first["readings"]) == ("equal", 0, 151)
    assert first["to"] in {end - 1, end}  # the aborted transaction's marker may come last
    assert first["compared"] == first["equal"] > 10
    assert (second["status"], second["compared"], second["to"]) == ("equal", 3, 30)
    part = answer("replay", "--verify", "--from", "35", "--to", "65", "-p", "0")
    assert [(each["from"], each["to"], each["compared"]) for each in part] == [(30, 60, 3)]
    timed = answer("replay", "--verify", "--to", rfc3339((T0_MS + 50) * 1_000_000), "-p", "0")
    assert timed[0]["to"] == 50
    assert "every hash equal" in run("replay", "--verify", "-p", "1").stderr
    beyond = run("replay", "--verify", "--from", "100000")
    assert beyond.exit_code == 2
    assert "No ledger record ends between 100000 and the end." in beyond.stderr
    assert history.ends() == before


def test_batches_do_not_matter(history: History) -> None:
    history.push(ordinary(90))
    history.publish(batch=7)
    (found,) = answer("replay", "--verify", "-p", "0")
    assert (found["status"], found["compared"]) == ("equal", 13)


def wrong_hash(batch: BatchCompleted) -> dict[str, Any]:
    return {"hash": "0" * 16} if batch.from_offset == 40 else {}


def biased(processor: PartitionProcessor) -> None:
    """A worker that computes something else from the fourth batch on."""
    detector, calls = processor._stages.detectors[0], []
    right = detector.advance

    def advance(rows: Any) -> Any:
        calls.append(1)
        scores = right(rows)
        if len(calls) == 4:
            scores.score[3] += 0.25
        return scores

    detector.advance = advance  # type: ignore[method-assign]  # a fault to be found


def test_a_record_with_a_wrong_hash_is_different(history: History) -> None:
    history.push(ordinary(200))
    history.publish(batch=20, tamper=ledger_changed(wrong_hash), partitions=[0])
    result = run("replay", "--verify", "-p", "0", "--output", "json")
    assert result.exit_code == 6
    (found,) = msgspec.json.decode(result.stdout)
    assert (found["status"], found["batch"], found["offset"]) == ("different", [40, 60], 40)
    assert "every published verdict of this batch is as computed" in found["detail"]
    assert found["ledger_hash"] == "0" * 16
    assert "differs first at offset 40 (batch 40 to 60)" in result.stderr


def test_the_first_verdict_that_differs_is_found(history: History) -> None:
    history.push(ordinary(200))
    history.publish(batch=20, before=biased, partitions=[0])
    (found,) = answer("replay", "--verify", "-p", "0", code=6)
    assert (found["batch"], found["offset"], found["row"]) == ([60, 80], 63, 0)
    assert found["detail"].startswith("verdict: features ")
    assert ", own_score " in found["detail"]
    assert answer("replay", "--verify", "-p", "0", "--to", "60")[0]["status"] == "equal"
    (later,) = answer("replay", "--verify", "-p", "0", "--from", "150", code=6)
    assert later["offset"] == 63


def test_where_only_detections_are_published_the_first_of_those_is_found(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "ODDTIDE_STREAMS", '[{"partitions": 2, "detectors": [{"kind": "ewma", "parameters": {"warm_up": 10}}]}]'
    )
    history = History(history.prefix, type(history.composition)(load()))
    history.push(ordinary(100, spikes=[50, 55]))

    def tamper(records: list[ResultRecord]) -> list[ResultRecord]:
        changed = ledger_changed(lambda b: {"hash": "0" * 16} if b.from_offset == 40 else {})(records)
        return [record for record in changed if not (record.topic.endswith("detections") and _offset(record) == 55)]

    history.publish(tamper=tamper, partitions=[0])
    (found,) = answer("replay", "--verify", "-p", "0", code=6)
    assert (found["offset"], found["detail"]) == (55, "the detection was computed but not published")


def load() -> Any:
    from oddtide.config.settings import load as settings

    return settings(None).settings


def test_counts_that_differ_are_different_too(history: History) -> None:
    def change(batch: BatchCompleted) -> dict[str, Any]:
        return {"scored": batch.scored - 1, "skipped": {"made_up": 1}} if batch.from_offset == 40 else {}

    history.push(ordinary(100))
    history.publish(tamper=ledger_changed(change), partitions=[0])
    (found,) = answer("replay", "--verify", "-p", "0", code=6)
    assert found["detail"].startswith("counts from 0 on: scored: 99 in the ledger, 100 computed")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda batch: {"build": "0.0.1/x86_64"}, "build: 0.0.1/x86_64 in the ledger"),
        (lambda batch: {"pipeline_version": "abc"}, "configuration: the ledger names pipeline abc"),
    ],
)
def test_another_build_or_configuration_is_not_verifiable_here(
    history: History, change: Callable[[BatchCompleted], dict[str, Any]], reason: str
) -> None:
    def tamper(batch: BatchCompleted) -> dict[str, Any]:
        return {**change(batch), "hash": "1" * 16} if batch.from_offset == 40 else {}

    history.push(ordinary(120))
    history.publish(tamper=ledger_changed(tamper), partitions=[0])
    result = run("replay", "--verify", "-p", "0", "--output", "json")
    assert result.exit_code == 1
    (found,) = msgspec.json.decode(result.stdout)
    assert (found["status"], found["equal"], found["unverifiable"]) == ("not_verifiable", 1, 2)
    assert reason in result.stderr
    assert "Not verifiable here: 2 of 3 batches" in result.stderr


def test_equal_hashes_of_another_build_are_proof_enough(history: History) -> None:
    history.push(ordinary(80))
    history.publish(build="0.0.1/other", partitions=[0])
    assert answer("replay", "--verify", "-p", "0")[0]["status"] == "equal"


def delete_before(history: History, offset: int) -> None:
    from kafka import KafkaAdminClient, TopicPartition

    admin = KafkaAdminClient(bootstrap_servers=history.composition.bootstrap)
    admin.delete_records({TopicPartition(history.topic, 0): offset})
    admin.close()


def test_a_log_without_its_beginning_is_not_verifiable_and_says_so(history: History) -> None:
    history.push(ordinary(120))
    history.publish(partitions=[0])
    delete_before(history, 40)
    result = run("replay", "--verify", "-p", "0", "--output", "json")
    assert result.exit_code == 1
    (found,) = msgspec.json.decode(result.stdout)
    assert (found["unverifiable"], list(found["reasons"])) == (
        2,
        ["history: the ledger begins at 0, the log only at 40"],
    )
    assert "cannot be verified any more" in result.stderr


def test_from_a_new_epoch_on_history_is_verified_again(history: History) -> None:
    """A ledger that goes on after a cut: the state of the new epoch is what the log from 40 on gives."""
    history.push(ordinary(160))
    kept = history.publish(partitions=[0], tamper=lambda records: records if _start(records) < 80 else [])
    delete_before(history, 40)
    opened = EpochOpened(from_offset=0, to_offset=40, state_from=40, reason="retention")
    stands = int(kept[1].completed.hash, 16)

    def second_epoch(processor: PartitionProcessor) -> None:
        fold = processor.fold

        def folded(records: Any) -> Any:
            if processor.position == 80:
                processor.start_at(80, stands)
            return fold(records)

        processor.fold = folded  # type: ignore[method-assign]  # a fault to be found

    def tamper(records: list[ResultRecord]) -> Iterable[ResultRecord]:
        start = _start(records)
        nothing = {"to_offset": 80, "readings": 0, "records": 0, "scored": 0, "detections": 0, "hash": f"{stands:016x}"}
        marker = ledger_changed(lambda b: {**nothing, "epoch": 1, "opened": opened})(records)
        rest = ledger_changed(lambda b: {"epoch": 1})(records)
        return [] if start < 80 else [*(list(marker)[-1:] if start == 80 else []), *rest]

    history.publish(partitions=[0], tamper=tamper, before=second_epoch)
    (found,) = answer("replay", "--verify", "-p", "0")
    assert (found["started"], found["status"], found["compared"]) == ("the epoch that began at 80", "equal", 2)
    assert (found["from"], found["to"]) == (80, 160)
    (added,) = answer("ledger", "check", "-p", "0")
    assert added["batches"] == 5


def _offset(record: ResultRecord) -> int:
    return msgspec.json.decode(record.value or b"", type=AnomalyDetected).offset


def _start(records: list[ResultRecord]) -> int:
    return msgspec.json.decode(records[-1].value or b"", type=BatchCompleted).from_offset


def test_there_must_be_something_to_do(history: History) -> None:
    assert run("replay").exit_code == 2
    assert run("replay", "--verify", "--from", "yesterday").exit_code == 2
    assert run("replay", "--verify", "--stream", "other").exit_code == 3
