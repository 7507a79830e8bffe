"""``oddtide ledger check`` on a real Kafka: a sound history adds up, and every planted fault is named."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from oddtide.domain.observability.ledger import BatchCompleted
from oddtide.domain.quality.events import ReadingRejected
from oddtide.streams.results import REJECTION_HEADER, ResultRecord
from tests.integration.history_kit import History, Tamper, answer, history, ledger_changed, ordinary, run

__all__ = ["history"]


def problems(code: int = 6) -> list[tuple[str, int, int, int]]:
    found = answer("ledger", "check", code=code)
    return [(each["kind"], each["partition"], each["from"], each["to"]) for part in found for each in part["listed"]]


def test_a_sound_history_adds_up_with_holes_bad_records_and_what_is_not_processed_yet(history: History) -> None:
    history.push(ordinary(100, spikes=[60, 90]))
    history.push(ordinary(5), abort=True)
    history.push([b"{oops", None, *ordinary(50, start=100)])
    history.push(ordinary(30), partition=1)
    history.publish()
    history.push(ordinary(3, start=30), partition=1)
    first, second = answer("ledger", "check")
    assert (first["readings"], first["scored"], first["rejected"]) == (152, 150, 2)
    end = history.ends()[history.topic][0][1]
    assert (first["from"], first["holes"]) == (0, first["to"] - 152)
    assert first["to"] in {end - 1, end}  # the aborted transaction's marker may come last
    assert first["holes"] > 0
    assert first["detections"] >= 2
    assert (first["log"], first["results"], first["problems"]) == (first["batches"], first["batches"], 0)
    assert (second["readings"], second["pending"]) == (30, 3)
    table = run("ledger", "check", "--partition", "1")
    assert table.exit_code == 0
    assert "add up" in table.stderr
    (line,) = run("ledger", "check", "--partition", "1", "--output", "jsonl").stdout.splitlines()
    assert msgspec.json.decode(line)["partition"] == 1


def test_the_newest_batches_are_shown(history: History) -> None:
    history.push(ordinary(100))
    history.publish(batch=10)
    assert [row["from"] for row in answer("ledger", "show", "-n", "3", "-p", "0")] == [70, 80, 90]
    assert [row["to"] for row in answer("ledger", "show", "--at", "25", "-p", "0")] == [30]
    assert answer("ledger", "show", "--at", "100", "-p", "0") == []
    history.say(f"{history.topic}.ledger", b"foreign", [])
    assert len(answer("ledger", "show", "-n", "30", "-p", "0")) == 10


def without(*roles: str) -> Tamper:
    return lambda records: [record for record in records if not record.topic.endswith(roles)]


def doubled(*roles: str) -> Tamper:
    return lambda records: [each for record in records for each in [record] * (1 + record.topic.endswith(roles))]


def counted(**wrong: int) -> Tamper:
    return ledger_changed(lambda batch: {name: getattr(batch, name) + more for name, more in wrong.items()})


#: What was done to the batch that begins at an offset, and what must be said about it.
FAULTS: dict[int, tuple[Tamper, tuple[str, int, int, int]]] = {
    40: (lambda records: [], ("gap", 0, 40, 60)),
    80: (doubled(".ledger"), ("repeat", 0, 80, 100)),
    120: (counted(scored=1), ("sum", 0, 120, 140)),
    160: (counted(records=1, holes=-1), ("log", 0, 160, 180)),
    200: (counted(detections=1), ("detections", 0, 200, 220)),
    240: (without(".detections"), ("detections", 0, 240, 260)),
    280: (without(".deadletters"), ("dead_letters", 0, 280, 300)),
    320: (without(".verdicts"), ("verdicts", 0, 320, 340)),
    360: (doubled(".detections"), ("twice", 0, 365, 366)),
    400: (doubled(".deadletters"), ("twice", 0, 405, 406)),
    440: (doubled(".verdicts"), ("twice", 0, 440, 441)),
    480: (counted(to_offset=30), ("end", 0, 500, 530)),
}


def test_every_planted_fault_is_named(history: History) -> None:
    readings = ordinary(500, spikes=[245, 365])
    readings[285] = readings[405] = b"{oops"
    history.push(readings)

    def tamper(records: list[ResultRecord]) -> Iterable[ResultRecord]:
        start = msgspec.json.decode(records[-1].value or b"", type=BatchCompleted).from_offset
        return FAULTS[start][0](records) if start in FAULTS else records

    history.publish(batch=20, tamper=tamper, partitions=[0])
    found = problems()
    assert {expected for _, expected in FAULTS.values()} <= set(found)
    # Two copies of a ledger record share what the log and the results have; the gap's results belong to nobody.
    others = {problem for problem in found if problem not in {expected for _, expected in FAULTS.values()}}
    assert {
        (start, stop) for _, _, start, stop in others if (start, stop) not in {(80, 100), (120, 140), (480, 530)}
    } <= {(start, start + 1) for start in range(40, 60)}


def test_a_hash_that_moves_where_nothing_was_scored_is_named(history: History) -> None:
    history.push([*ordinary(40), *[b"{oops"] * 40])
    history.publish(tamper=ledger_changed(lambda b: {} if b.scored else {"hash": "f" * 16}))
    assert problems() == [("hash", 0, 40, 80)]
    result = run("ledger", "check")
    assert result.exit_code == 6
    assert "1 things do not add up, in 1 of 2 partitions (0)" in result.stderr
    assert "nothing was scored" in result.stdout


def test_results_that_nobody_accounts_for_are_named(history: History) -> None:
    history.push(ordinary(100))
    history.publish(tamper=lambda records: [] if b'"from":40,' in (records[-1].value or b"") else records)
    event = ReadingRejected(
        reason="not_json", detail="no", stream="readings", topic=history.topic, partition=0, offset=50
    )
    history.say(f"{history.prefix}.deadletters", b"x", [(REJECTION_HEADER, msgspec.json.encode(event))])
    history.say(f"{history.prefix}.deadletters", b"x", [("foreign", b"")])
    history.say(f"{history.prefix}.detections", b"x", [("ce_type", b"oddtide.AnomalyDetected"), ("ce_id", b"no id")])
    history.say(f"{history.prefix}.verdicts", b"x", [("ce_type", b"oddtide.VerdictFrame")])
    assert set(problems()) == {("gap", 0, 40, 80), ("dead_letters", 0, 50, 51)}


def test_what_retention_has_removed_is_not_held_against_the_ledger(history: History) -> None:
    from kafka import KafkaAdminClient, TopicPartition

    history.push(ordinary(100, spikes=[20, 60]))
    history.publish(batch=10)
    admin = KafkaAdminClient(bootstrap_servers=history.composition.bootstrap)
    admin.delete_records({TopicPartition(history.topic, 0): 35, TopicPartition(f"{history.prefix}.detections", 0): 2})
    admin.close()
    (found,) = answer("ledger", "check", "-p", "0")
    assert (found["batches"], found["log"], found["problems"]) == (10, 6, 0)
    assert found["results"] < 10


def test_what_is_not_there_is_said(history: History) -> None:
    assert run("ledger", "check", "--stream", "nothing").exit_code == 3
    assert run("ledger", "check", "--partition", "7").exit_code == 3
    assert answer("ledger", "check")[0]["batches"] == 0
    assert "nothing was verified" in run("replay", "--verify").stderr
