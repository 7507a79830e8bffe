"""Reading from a real Kafka: where it starts, where it ends, what it leaves out."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Iterator

import pytest
from kafka import KafkaProducer, TopicPartition

from oddtide.adapters.kafka import KafkaAdmin, KafkaConnection, KafkaReader, KafkaWriter
from oddtide.adapters.kafka.connection import connect
from oddtide.domain.errors import NotFoundError, UsageError
from oddtide.streams.topics import TopicSpec


@pytest.fixture
def connection(kafka: str) -> KafkaConnection:
    return KafkaConnection(kafka)


@pytest.fixture
def reader(connection: KafkaConnection) -> Iterator[KafkaReader]:
    with KafkaReader(connection) as made:
        yield made


@pytest.fixture
def topic(connection: KafkaConnection, topic_prefix: str) -> str:
    """Two partitions: 0 to 9 in the first, 10 to 14 in the second."""
    with KafkaAdmin(connection) as admin, KafkaWriter(connection) as writer:
        admin.ensure([TopicSpec(topic_prefix, "readings", "series", (), 3, "a test")])
        for number in range(15):
            writer.send(topic_prefix, str(number).encode(), partition=number // 10)
    return topic_prefix


def numbers(reader: KafkaReader, topic: str, **options: object) -> list[int]:
    found = reader.read(topic, stop_at_end=True, **options)  # type: ignore[arg-type]  # options of each test differ
    return sorted(int(record.value or b"-1") for record in found)


def test_the_whole_topic_in_order_within_partitions(reader: KafkaReader, topic: str) -> None:
    found = list(reader.read(topic, stop_at_end=True))
    assert [record.offset for record in found if record.partition == 0] == list(range(10))
    assert [record.offset for record in found if record.partition == 1] == list(range(5))
    assert len(found) == 15


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("beginning", list(range(15))),
        ("end", []),
        (-2, [8, 9, 13, 14]),
        (-7, list(range(3, 15))),
        ({0: 9}, [9, 10, 11, 12, 13, 14]),
        ({0: 10, 1: 4, 2: 0}, [14]),
        ({0: 99, 1: 99}, []),
        ({0: -5, 1: 5}, list(range(10))),
    ],
)
def test_where_it_starts(
    start: str | int | dict[int, int], expected: list[int], reader: KafkaReader, topic: str
) -> None:
    assert numbers(reader, topic, start=start) == expected


def test_only_some_partitions(reader: KafkaReader, topic: str) -> None:
    assert numbers(reader, topic, partitions=[1]) == [10, 11, 12, 13, 14]
    assert numbers(reader, topic, partitions=[2]) == []
    assert numbers(reader, topic, partitions=[]) == []


def test_contradictions_are_refused_before_anything_is_read(reader: KafkaReader, topic: str) -> None:
    for options in ({"start": "middle"}, {"start": 5}, {"group": "g", "start": -5}, {"group": "g", "partitions": [0]}):
        with pytest.raises(UsageError):
            numbers(reader, topic, **options)


def test_what_is_not_there_is_not_found(reader: KafkaReader, topic: str) -> None:
    with pytest.raises(NotFoundError, match="no topic 'nowhere'"):
        numbers(reader, "nowhere")
    with pytest.raises(NotFoundError, match=r"no partition 7.*0 to 2"):
        numbers(reader, topic, partitions=[0, 7])


def test_without_an_end_it_goes_on_with_what_arrives(
    reader: KafkaReader, connection: KafkaConnection, topic: str
) -> None:
    found = reader.read(topic)
    assert len(list(itertools.islice(found, 15))) == 15
    with KafkaWriter(connection) as writer:
        writer.send(topic, b"15")
    assert next(found).value == b"15"


def test_what_arrives_after_the_beginning_is_beyond_the_end(
    reader: KafkaReader, connection: KafkaConnection, topic: str
) -> None:
    found = reader.read(topic, stop_at_end=True)
    first = next(found)
    with KafkaWriter(connection) as writer:
        for partition in range(3):
            writer.send(topic, b"late", partition=partition)
    assert b"late" not in {first.value, *(record.value for record in found)}


def test_closing_ends_a_reader_that_waits(reader: KafkaReader, topic: str) -> None:
    threads = threading.active_count()
    found = reader.read(topic, start="end")
    closer = threading.Timer(0.3, reader.close)
    closer.start()
    assert list(found) == []
    closer.join()
    assert threading.active_count() == threads


def test_closing_ends_a_reader_that_is_in_the_middle(reader: KafkaReader, topic: str) -> None:
    found = reader.read(topic)
    next(found)
    reader.close()
    assert list(found) == []


def test_letting_go_of_an_iterator_closes_its_connection(reader: KafkaReader, topic: str) -> None:
    threads = threading.active_count()
    found = reader.read(topic)
    next(found)
    found.close()  # type: ignore[attr-defined]  # a generator, which the signature need not promise
    assert threading.active_count() == threads


def test_only_what_is_committed_is_read_and_the_end_is_found_behind_markers(
    reader: KafkaReader, connection: KafkaConnection, topic_prefix: str
) -> None:
    with KafkaAdmin(connection) as admin:
        admin.ensure([TopicSpec(topic_prefix, "readings", "series", (), 1, "a test")])
    producer = connect(KafkaProducer, connection, transactional_id=topic_prefix)
    try:
        producer.init_transactions()
        for text, end in ((b"1", "commit"), (b"2", "abort"), (b"3", "commit"), (b"4", "abort")):
            producer.begin_transaction()
            producer.send(topic_prefix, text)
            producer.flush()
            producer.commit_transaction() if end == "commit" else producer.abort_transaction()
        assert numbers(reader, topic_prefix) == [1, 3]
        producer.begin_transaction()
        producer.send(topic_prefix, b"5")
        producer.flush()
        assert numbers(reader, topic_prefix) == [1, 3], "an open transaction is beyond the end"
        producer.commit_transaction()
        assert numbers(reader, topic_prefix) == [1, 3, 5]
    finally:
        producer.close()


def test_a_group_goes_on_where_it_was(connection: KafkaConnection, topic: str) -> None:
    with KafkaReader(connection) as first:
        assert numbers(first, topic, group=topic) == list(range(15))
    with KafkaWriter(connection) as writer:
        writer.send(topic, b"15")
    with KafkaReader(connection) as second:
        assert numbers(second, topic, group=topic) == [15]


def test_a_group_repeats_what_was_not_asked_beyond(connection: KafkaConnection, topic: str) -> None:
    with KafkaReader(connection) as first:
        found = first.read(topic, group=topic)
        taken = [int(next(found).value or b"-1") for _ in range(3)]
        found.close()  # type: ignore[attr-defined]  # a generator
    with KafkaReader(connection) as second:
        assert numbers(second, topic, group=topic) == sorted(set(range(15)) - set(taken[:2]))


def test_readers_of_a_group_read_everything_between_them(connection: KafkaConnection, topic: str) -> None:
    seen: queue.Queue[int] = queue.Queue()

    def work(reader: KafkaReader) -> None:
        for record in reader.read(topic, group=topic):
            seen.put(int(record.value or b"-1"))

    with KafkaReader(connection) as first, KafkaReader(connection) as second:
        threads = [threading.Thread(target=work, args=(reader,)) for reader in (first, second)]
        for thread in threads:
            thread.start()
        missing = set(range(15))
        while missing:
            missing.discard(seen.get(timeout=60))
        first.close()
        second.close()
        for thread in threads:
            thread.join()
    with KafkaReader(connection) as third:
        assert numbers(third, topic, group=topic) == []


def test_a_new_group_may_start_at_the_end(connection: KafkaConnection, topic: str) -> None:
    with KafkaReader(connection) as reader:
        assert numbers(reader, topic, group=topic, start="end") == []


def test_records_removed_by_retention_are_skipped(reader: KafkaReader, connection: KafkaConnection, topic: str) -> None:
    with KafkaAdmin(connection) as admin:
        admin._client.delete_records({TopicPartition(topic, 0): 7})
        assert admin.offsets(topic)[0] == (7, 10)
    assert numbers(reader, topic, start={0: 2}, partitions=[0]) == [7, 8, 9]
    assert numbers(reader, topic, start=-9, partitions=[0]) == [7, 8, 9]
