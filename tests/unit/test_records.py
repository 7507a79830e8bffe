from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import pytest

from oddtide.config.cli.records import decode, describe_line, resolve_topic
from oddtide.domain.detection.events import AnomalyDetected
from oddtide.domain.events import Message
from oddtide.domain.observability.controls import ControlApplied, PlannedWindow
from oddtide.domain.observability.events import AlertOpened, FeedbackGiven
from oddtide.domain.observability.ledger import BatchCompleted
from oddtide.domain.quality.events import ReadingRejected
from oddtide.streams.envelope import Headers, seal
from oddtide.streams.results import REJECTION_HEADER
from oddtide.streams.topics import TopicCatalogue, TopicSpec

CATALOGUE = TopicCatalogue(streams=(("pumps", "plant.pumps", 2), ("fans", "p.fans", 1)), prefix="p")


class Record(NamedTuple):
    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()


def record(value: bytes | None, headers: Headers | None = None, key: bytes | None = b"k") -> Record:
    return Record("p.x", 1, 7, 1_000, key, value, headers or [])


def of_event(event: Message) -> Record:
    return record(*seal(event, id="e1", source="/t", causation="c1"))


def rows(what: Record, role: str = "") -> list[dict[str, Any]]:
    spec = TopicSpec("p.x", role, "key", (), 1, "for a test") if role else None
    return list(decode(what, spec))


@pytest.mark.parametrize(
    ("name", "topic"),
    [
        ("p.detections", "p.detections"),
        ("detections", "p.detections"),
        ("pumps", "plant.pumps"),
        ("plant.pumps", "plant.pumps"),
        ("ledger", "plant.pumps.ledger"),
        ("p.fans.ledger", "p.fans.ledger"),
        ("fans", "p.fans"),
        ("readings", "plant.pumps"),
    ],
)
def test_topics_have_short_names(name: str, topic: str) -> None:
    found = resolve_topic(CATALOGUE, name)
    assert found is not None
    assert found.name == topic


def test_an_unknown_name_is_none_of_ours() -> None:
    assert resolve_topic(CATALOGUE, "detection") is None


def test_a_reading_is_shown_as_it_is() -> None:
    (row,) = rows(record(b'{"series": "a", "value": 1}'))
    assert row == {
        "topic": "p.x", "partition": 1, "offset": 7, "timestamp": 1000, "key": "k", "value": {"series": "a", "value": 1}
    }  # fmt: skip
    assert describe_line(row) == '1:7  k  {"series":"a","value":1}'


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, None), (b"\xff{", "\\xff{"), (b"not json", "not json"), (b"x" * 500, "x" * 400 + "… (500 bytes)")],
)
def test_what_is_not_json_is_shown_raw(value: bytes | None, shown: object) -> None:
    (row,) = rows(record(value, key=None))
    assert row["value"] == shown
    assert describe_line(row).startswith("1:7  -  ")


def test_an_event_keeps_its_own_coordinates_apart_from_the_records() -> None:
    event = AnomalyDetected(
        id="v", stream="s", series="a", time="2026-01-01T00:00:00Z", feature="value", value=3.0, score=9.0,
        p_value=1e-9, is_anomaly=True, topic="plant.pumps", partition=0, offset=99, reason="far above",
    )  # fmt: skip
    (row,) = rows(of_event(event))
    assert (row["topic"], row["partition"], row["offset"]) == ("p.x", 1, 7)
    assert (row["source_topic"], row["source_partition"], row["source_offset"]) == ("plant.pumps", 0, 99)
    assert (row["type"], row["event_id"], row["causation_id"]) == ("oddtide.AnomalyDetected", "e1", "c1")
    assert describe_line(row) == "1:7  2026-01-01T00:00:00Z  AnomalyDetected  a = 3.0  ANOMALY: far above  [v]"


def test_a_batchs_line_says_what_took_effect() -> None:
    controls = [
        ControlApplied(kind="pipeline", offset=5, pipeline="abc"),
        ControlApplied(kind="model", offset=5, model="m", version=2),
        ControlApplied(kind="feedback", offset=5, series="pump-1"),
        ControlApplied(kind="planned_work", offset=5, work=PlannedWindow(id="w", from_time="a", to_time="b")),
        ControlApplied(kind="planned_work", offset=5, cancelled="w"),
    ]
    batch = BatchCompleted(
        stream="s", topic="t", partition=0, from_offset=5, to_offset=9, records=4, holes=0, readings=4, scored=4,
        rejected={}, skipped={}, detections=0, controls=controls, time="2026-01-01T00:00:00Z",
    )  # fmt: skip
    (row,) = rows(of_event(batch))
    assert describe_line(row).endswith(
        "0 detections; in force from here: pipeline abc, model m 2, feedback pump-1, planned_work w, "
        "planned_work w cancelled"
    )


def test_lines_for_people() -> None:
    time = "2026-01-01T00:00:00Z"
    batch = BatchCompleted(
        stream="s", topic="t", partition=0, from_offset=5, to_offset=9, records=4, holes=0, readings=4, scored=2,
        rejected={"not_json": 1}, skipped={"order": 1}, detections=1, time=time,
    )  # fmt: skip
    alert = AlertOpened(
        alert="a1", kind="anomaly", stream="s", series="x", severity="warning", summary="far", opened=time, last=time
    )
    said = FeedbackGiven(id="f", verdict="v", label="confirmed", by="me", time=time)
    lines = [describe_line(row) for event in (batch, alert, said) for row in rows(of_event(event))]
    assert "5..9: 4 readings, 2 scored, 1 rejected, 1 skipped, 1 detections" in lines[0]
    assert "a1  warning  x: far (1 causes)" in lines[1]
    assert "verdict=v  label=confirmed  by=me" in lines[2]


def test_an_event_that_cannot_be_opened_is_shown_raw_with_the_problem() -> None:
    headers: Headers = [("ce_type", b"oddtide.AlertOpened")]
    (row,) = rows(record(b'{"alert": 1}', headers))
    assert "wrong_shape" in row["problem"]
    assert row["value"] == {"alert": 1}
    newer: Headers = [("ce_type", b"oddtide.AlertOpened"), ("ce_dataschema", b"urn:x:99")]
    (row,) = rows(record(b"{}", newer))
    assert "99" in row["problem"]
    (row,) = rows(record(b"{}", [("ce_type", b"com.example.other")]))
    assert "problem" not in row


def test_a_dead_letter_shows_reason_and_original() -> None:
    about = ReadingRejected(reason="not_json", detail="no", stream="s", topic="plant.pumps", partition=1, offset=3)
    (row,) = rows(record(b"{oops", [(REJECTION_HEADER, msgspec.json.encode(about))]), "deadletters")
    assert (row["reason"], row["source_topic"], row["source_offset"]) == ("not_json", "plant.pumps", 3)
    assert row["value"] == "{oops"
    assert "plant.pumps[1]@3  not_json: no  {oops" in describe_line(row)


@pytest.mark.parametrize("header", [[], [(REJECTION_HEADER, b"{")], [(REJECTION_HEADER, b"[]")]])
def test_a_foreign_dead_letter_is_shown_raw(header: Headers) -> None:
    (row,) = rows(record(b"x", header), "deadletters")
    assert row["value"] == "x"
    assert describe_line(row)


def test_a_frame_is_expanded_to_its_verdicts() -> None:
    found = rows(record(_frame()), "verdicts")
    assert [row["source_offset"] for row in found] == list(range(101))
    assert {row["offset"] for row in found} == {7}
    assert "  ok: score" in describe_line(found[0])
    assert "ANOMALY" in describe_line(found[100])


def test_what_is_no_frame_is_shown_raw() -> None:
    (row,) = rows(record(b"junk"), "verdicts")
    assert row["value"] == "junk"
    assert "not_a_frame" in row["problem"]


def _frame() -> bytes:
    """The verdicts on a hundred ordinary readings and one that is not."""
    from oddtide.config.composition import Composition
    from oddtide.config.settings import Settings
    from oddtide.streams.codecs.decoded import Record as Logged
    from oddtide.streams.codecs.encoding import encode_reading
    from oddtide.streams.pipeline.frames import encode_frames
    from oddtide.streams.pipeline.processor import PartitionProcessor

    composition = Composition(Settings())
    (plan,) = composition.plans()
    start = 1_767_225_600
    values = [float(i % 7) for i in range(100)] + [1e6]
    records = [
        Logged(i, (start + i) * 1_000, b"a", encode_reading("a", (start + i) * 10**9, {"value": value}))
        for i, value in enumerate(values)
    ]
    outcome = PartitionProcessor(plan, composition.toolkit(), application="t", partition=0).fold(records)
    (frame,) = encode_frames(outcome.verdicts)
    return frame
