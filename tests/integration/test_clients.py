"""Producer and Consumer on a real Kafka."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import orjson
import pytest

import oddtide
from oddtide.adapters.kafka import KafkaAdmin, KafkaConnection, KafkaReader, KafkaWriter
from oddtide.config.clients import Item
from oddtide.domain.detection.events import AnomalyDetected, Verdict
from oddtide.domain.errors import (
    BrokerUnreachableError,
    ConfigurationError,
    DecodeError,
    NotFoundError,
    UsageError,
)
from oddtide.domain.quality.events import ReadingRejected
from oddtide.streams.envelope import seal
from oddtide.streams.pipeline.frames import FRAME_TYPE, encode_frames
from oddtide.streams.results import REJECTION_HEADER
from oddtide.streams.topics import TopicSpec

NOW = 1_700_000_000_000_000_000


@pytest.fixture
def topic(kafka: str, topic_prefix: str) -> str:
    with KafkaAdmin(KafkaConnection(kafka)) as admin:
        admin.ensure([TopicSpec(topic_prefix, "readings", "series", (), 3, "")])
    return topic_prefix


def sent(kafka: str, topic: str) -> list[tuple[bytes | None, object]]:
    with KafkaReader(KafkaConnection(kafka)) as reader:
        records = sorted(reader.read(topic, stop_at_end=True), key=lambda each: (each.partition, each.offset))
    return [(each.key, orjson.loads(each.value or b"")) for each in records]


def test_readings_arrive_as_they_were_sent(kafka: str, topic: str) -> None:
    with oddtide.Producer(kafka, topic, clock=lambda: NOW) as producer:
        producer.send("a", 1.5)
        producer.send("a", features={"x": 1, "y": None}, time="2024-01-01T00:00:00Z", labels={"site": "north"})
        producer.send("a", 2, time=datetime(2024, 1, 1, 12))  # noqa: DTZ001 - without a zone it counts as UTC
        producer.send("a", 3, time=datetime(2024, 1, 1, 12, tzinfo=UTC))
        producer.send("a", 4, time=np.datetime64("2024-01-01T12", "h"))
        delivery = producer.send("a", 5, time=np.int64(1_700_000_000)).wait()
    assert delivery.topic == topic
    noon = int(datetime(2024, 1, 1, 12, tzinfo=UTC).timestamp()) * 10**9
    found = sent(kafka, topic)
    assert {key for key, _ in found} == {b"a"}
    assert [value for _, value in found] == [
        {"series": "a", "time": NOW, "value": 1.5},
        {"series": "a", "time": noon - 43_200 * 10**9, "features": {"x": 1, "y": None}, "labels": {"site": "north"}},
        {"series": "a", "time": noon, "value": 2},
        {"series": "a", "time": noon, "value": 3},
        {"series": "a", "time": noon, "value": 4},
        {"series": "a", "time": 1_700_000_000 * 10**9, "value": 5},
    ]


def test_many_readings_go_in_batches_of_one_series(kafka: str, topic: str) -> None:
    count = 2_500
    keys = ["a" if i % 5 else "b" for i in range(count)]
    with oddtide.Producer(kafka, topic) as producer:
        handles = producer.send_many(series=keys, time=NOW + np.arange(count), value=np.arange(count))
    assert all(handle.done for handle in handles)
    found = sent(kafka, topic)
    assert len(found) == 3
    for series in ("a", "b"):
        values = [number for key, batch in found if key == series.encode() for number in batch["value"]]  # type: ignore[index]  # JSON
        assert values == [float(i) for i in range(count) if keys[i] == series]


def test_a_series_stays_in_one_partition(kafka: str, topic: str) -> None:
    with oddtide.Producer(kafka, topic) as producer:
        partitions = {producer.send("pump-7", i).wait().partition for i in range(5)}
    assert len(partitions) == 1


@pytest.mark.parametrize(
    ("arguments", "keywords", "says"),
    [
        (("a",), {}, "either a value or features"),
        (("a", 1.0), {"features": {"x": 1.0}}, "either a value or features"),
        (("", 1.0), {}, "no name"),
        (("a", float("nan")), {}, "not finite"),
        (("a",), {"features": {"x": float("inf")}}, "not finite"),
        (("a", "5"), {}, "not a number"),
        (("a", 1.0), {"time": "yesterday"}, "not RFC 3339"),
        (("a", 1.0), {"time": np.datetime64("NaT", "ns")}, "NaT"),
        (("a", 1.0), {"labels": {"x": 1}}, "label 'x'"),
    ],
)
def test_what_the_pipeline_would_refuse_is_refused_at_once(
    kafka: str, arguments: tuple[object, ...], keywords: dict[str, object], says: str
) -> None:
    producer = oddtide.Producer(kafka, "unused")
    with pytest.raises(UsageError, match=says):
        producer.send(*arguments, **keywords)  # type: ignore[arg-type]  # that is the point
    producer.close()


def test_columns_at_fault_send_nothing(kafka: str, topic: str) -> None:
    with oddtide.Producer(kafka, topic) as producer:
        with pytest.raises(UsageError, match="differ in length"):
            producer.send_many(series="a", time=[1, 2], value=[1.0])
        with pytest.raises(UsageError, match="infinite"):
            producer.send_many(series="a", time=[1], features={"x": [float("inf")]})
        with pytest.raises(UsageError, match="either"):
            producer.send_many(series="a", time=[1])
    assert sent(kafka, topic) == []


def test_a_reading_larger_than_the_topic_takes_is_told(kafka: str, topic: str) -> None:
    with oddtide.Producer(kafka, topic) as producer, pytest.raises(UsageError, match="too large"):
        producer.send("a", 1.0, labels={"x": "y" * 2_000_000}).wait()


def test_unknown_topics_and_unreachable_brokers_are_told(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError), oddtide.Producer(kafka, f"{topic_prefix}-none") as producer:
        producer.send("a", 1.0)
    with pytest.raises(BrokerUnreachableError), oddtide.Producer("127.0.0.1:1", "x") as producer:
        producer.send("a", 1.0)
    with pytest.raises(UsageError, match="Both"):
        oddtide.Producer(kafka, config="x.toml")
    with pytest.raises(ConfigurationError):
        oddtide.Producer(config=tmp_path / "none.toml")


def test_settings_say_where_and_what(kafka: str, topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("oddtide.toml").write_text(
        f'[kafka]\nbootstrap = "{kafka}"\n[[streams]]\nname = "own"\ntopic = "{topic}"\n', encoding="utf-8"
    )
    with oddtide.Producer(clock=lambda: NOW) as producer:
        assert producer.topic == topic
        producer.send("a", 1.0).wait()
    assert len(sent(kafka, topic)) == 1


def anomaly() -> AnomalyDetected:
    [verdict] = oddtide.detect_anomalies([0.0, 1.0] * 40 + [50.0])
    return msgspec.convert(msgspec.to_builtins(verdict), AnomalyDetected)


def publish_three_kinds(kafka: str, topic: str) -> AnomalyDetected:
    """A detection, a frame of two verdicts and a dead letter."""
    found = anomaly()
    value, headers = seal(found, id=found.id, source="/test", subject="a")
    frame = next(encode_frames(oddtide.detect_anomalies([1.0, 2.0], all=True).parts[0]))
    rejected = ReadingRejected(reason="not_json", detail="no", stream="s", topic="t", partition=0, offset=1)
    with KafkaWriter(KafkaConnection(kafka)) as writer:
        writer.send(topic, value, key=b"a", headers=headers, partition=0)
        writer.send(topic, frame, key=b"0", headers=[("ce_type", FRAME_TYPE.encode())], partition=0)
        header = (REJECTION_HEADER, msgspec.json.encode(rejected))
        writer.send(topic, b"{broken", headers=[header], partition=0)
    return found


def test_a_consumer_yields_typed_events_verdicts_and_dead_letters(kafka: str, topic: str) -> None:
    found = publish_three_kinds(kafka, topic)
    with oddtide.Consumer(topic, kafka, follow=False) as consumer:
        items: list[Item] = list(consumer)
    first, *verdicts, letter = items
    assert (first.event, first.key, first.envelope.id) == (found, "a", found.id)
    assert [type(item.event) for item in verdicts] == [Verdict, Verdict]
    assert [item.offset for item in items] == [0, 1, 1, 2]
    assert isinstance(letter.event, ReadingRejected)
    assert (letter.event.reason, letter.raw, letter.key) == ("not_json", b"{broken", "")


def test_a_consumer_starts_where_it_is_told(kafka: str, topic: str) -> None:
    publish_three_kinds(kafka, topic)
    with oddtide.Consumer(topic, kafka, start=-1, follow=False) as consumer:
        assert [item.offset for item in consumer] == [2]
    with oddtide.Consumer(topic, kafka, start="end", follow=False) as consumer:
        assert list(consumer) == []
    with oddtide.Consumer(topic, kafka, start={0: 2}, follow=False) as consumer:
        assert [item.offset for item in consumer] == [2]


def test_what_is_no_event_raises_or_is_counted(kafka: str, topic: str) -> None:
    with KafkaWriter(KafkaConnection(kafka)) as writer:
        writer.send(topic, b"not ours", partition=0)
        writer.send(topic, b"x", headers=[(REJECTION_HEADER, b"{")], partition=0)
    with pytest.raises(DecodeError), oddtide.Consumer(topic, kafka, follow=False) as consumer:
        list(consumer)
    with oddtide.Consumer(topic, kafka, follow=False, skip_unknown=True) as consumer:
        assert list(consumer) == []
        assert consumer.skipped == 2


def test_closing_from_another_thread_ends_a_consumer_that_waits(kafka: str, topic: str) -> None:
    publish_three_kinds(kafka, topic)
    consumer = oddtide.Consumer(topic, kafka, follow=True)
    seen = threading.Event()
    items: list[Item] = []

    def read() -> None:
        for item in consumer:
            items.append(item)
            if len(items) == 4:
                seen.set()

    thread = threading.Thread(target=read)
    thread.start()
    assert seen.wait(30)
    consumer.close()
    thread.join(10)
    assert not thread.is_alive()


def test_a_role_stands_for_its_topic(kafka: str) -> None:
    assert oddtide.Consumer("detections", kafka).topic == "oddtide.detections"
    assert oddtide.Consumer("deadletters", KafkaConnection(kafka)).topic == "oddtide.deadletters"
