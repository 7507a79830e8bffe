"""Sending to a real Kafka: what arrives, what is refused, what is said when it does not arrive."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from oddtide.adapters.embedded import EmbeddedBroker
from oddtide.adapters.kafka import KafkaAdmin, KafkaConnection, KafkaReader, KafkaRecord, KafkaWriter
from oddtide.adapters.kafka import writer as writer_module
from oddtide.domain.errors import BrokerUnreachableError, DependencyError, NotFoundError, UsageError
from oddtide.streams.topics import TopicSpec


@pytest.fixture
def connection(kafka: str) -> KafkaConnection:
    return KafkaConnection(kafka)


@pytest.fixture
def topic(connection: KafkaConnection, topic_prefix: str) -> str:
    make(connection, topic_prefix)
    return topic_prefix


def make(connection: KafkaConnection, topic: str, partitions: int = 3, **config: str) -> None:
    settings = {key.replace("_", "."): value for key, value in config.items()}
    with KafkaAdmin(connection) as admin:
        admin.ensure([TopicSpec(topic, "readings", "series", (), partitions, "a test", settings)])


def records(connection: KafkaConnection, topic: str) -> list[KafkaRecord]:
    with KafkaReader(connection) as reader:
        return list(reader.read(topic, stop_at_end=True))


def test_everything_given_arrives(connection: KafkaConnection, topic: str) -> None:
    headers = [("ce_id", b"1"), ("ce_id", b"2"), ("é", b"")]
    with KafkaWriter(connection) as writer:
        sent = writer.send(topic, b"v", key=b"k", headers=headers, partition=2, timestamp_ms=1_234_567_890_123)
        delivery = sent.wait(30)
        assert sent.done
    assert delivery == (topic, 2, 0, 1_234_567_890_123)
    assert records(connection, topic) == [
        KafkaRecord(topic, 2, 0, 1_234_567_890_123, b"k", b"v", tuple(headers)),
    ]


def test_nulls_and_empties_stay_apart(connection: KafkaConnection, topic: str) -> None:
    with KafkaWriter(connection) as writer:
        writer.send(topic, None, key=b"k", partition=0)
        writer.send(topic, b"", partition=0)
        writer.send(topic, b"", key=b"", partition=0)
        with pytest.raises(UsageError, match="a key or a value"):
            writer.send(topic, None)
    assert [(each.key, each.value) for each in records(connection, topic)] == [(b"k", None), (None, b""), (b"", b"")]


def test_a_key_keeps_its_partition_and_order(connection: KafkaConnection, topic: str) -> None:
    with KafkaWriter(connection) as writer:
        for number in range(3_000):
            writer.send(topic, str(number).encode(), key=str(number % 7).encode())
    seen: dict[bytes, list[int]] = {}
    partitions: dict[bytes, set[int]] = {}
    for each in records(connection, topic):
        assert each.key is not None
        assert each.value is not None
        seen.setdefault(each.key, []).append(int(each.value))
        partitions.setdefault(each.key, set()).add(each.partition)
    assert all(numbers == list(range(int(key), 3_000, 7)) for key, numbers in seen.items())
    assert all(len(where) == 1 for where in partitions.values())


def test_an_unknown_topic_and_partition_are_told_at_once(connection: KafkaConnection, topic: str) -> None:
    with KafkaWriter(connection) as writer:
        with pytest.raises(NotFoundError, match="no topic 'nowhere'"):
            writer.send("nowhere", b"x")
        with pytest.raises(UsageError, match=r"no partition 3.*0 to 2"):
            writer.send(topic, b"x", partition=3)
        writer.send(topic, b"x").wait()


def test_the_size_limit_is_the_topic_s_to_the_byte(connection: KafkaConnection, topic_prefix: str) -> None:
    make(connection, topic_prefix, 1, max_message_bytes="1000")
    headers = [("h", b"v" * 100)]
    with KafkaWriter(connection) as writer:
        largest = next(size for size in range(1_000, 0, -1) if writer_module._size(b"k", b"x" * size, headers) <= 1_000)
        writer.send(topic_prefix, b"x" * largest, key=b"k", headers=headers).wait()
        with pytest.raises(UsageError, match=r"has 1001 bytes, the topic takes 1000.*max\.message\.bytes"):
            writer.send(topic_prefix, b"x" * (largest + 1), key=b"k", headers=headers)
        writer.send(topic_prefix, b"after").wait()


def test_batches_that_are_too_large_for_the_topic_are_split(connection: KafkaConnection, topic_prefix: str) -> None:
    make(connection, topic_prefix, 1, max_message_bytes="1000")
    with KafkaWriter(connection) as writer:
        for number in range(200):
            writer.send(topic_prefix, b"%03d" % number + b"x" * 100)
    assert [each.value[:3] for each in records(connection, topic_prefix) if each.value] == [
        b"%03d" % number for number in range(200)
    ]


def test_a_record_that_the_topic_stopped_taking_is_lost_loudly_and_the_next_one_not(
    connection: KafkaConnection, topic: str
) -> None:
    with KafkaWriter(connection) as writer:
        writer.send(topic, b"before").wait()
        writer._limits[topic] = 10**9  # as if the topic's limit had been lowered since it was asked for
        lost = writer.send(topic, b"x" * 2_000_000)
        with pytest.raises(UsageError, match="too large"):
            lost.wait(30)
        with pytest.raises(UsageError, match="too large"):
            writer.flush()
        writer.flush()
        writer.send(topic, b"after").wait()
    assert sorted(each.value or b"" for each in records(connection, topic)) == [b"after", b"before"]


def test_what_kafka_python_itself_refuses_gives_its_room_back(
    connection: KafkaConnection, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "_LARGEST_RECORD", 10_000)
    with KafkaWriter(connection) as writer:
        with pytest.raises(UsageError, match="too large"):
            writer.send(topic, b"x" * 20_000)
        with pytest.raises(TypeError, match="headers"):
            writer.send(topic, b"x", headers=[("h", "text")])  # type: ignore[list-item]  # what the test is about
        assert writer._in_flight == 0
        writer.send(topic, b"x").wait()


def test_memory_is_bounded_by_waiting(connection: KafkaConnection, topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "_IN_FLIGHT_BYTES", 10_000)
    most = 0
    with KafkaWriter(connection) as writer:
        for _ in range(500):
            writer.send(topic, b"x" * 1_000)
            most = max(most, writer._in_flight)
    assert most <= 10_000
    assert len(records(connection, topic)) == 500


def test_threads_may_share_a_writer(connection: KafkaConnection, topic: str) -> None:
    with KafkaWriter(connection) as writer:

        def work() -> None:
            for _ in range(200):
                writer.send(topic, b"x")

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(records(connection, topic)) == 800


def test_acks_none_is_possible(connection: KafkaConnection, topic: str) -> None:
    with KafkaWriter(connection, acks=0) as writer:
        assert writer.send(topic, b"x").wait(30).topic == topic
    assert len(records(connection, topic)) == 1


def test_leaving_by_an_error_does_not_hide_it(connection: KafkaConnection, topic: str) -> None:
    def work() -> None:
        with KafkaWriter(connection) as writer:
            writer.send(topic, b"x")
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        work()


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    """A broker that a test may harm."""
    broker = EmbeddedBroker(tmp_path / "kafka", port=0, heap_mib=256)
    broker.start()
    yield broker
    broker.stop()


def harm(broker: EmbeddedBroker, number: signal.Signals) -> None:
    status = broker.status()
    assert status is not None
    os.kill(status.pid, number)
    if number is signal.SIGSTOP:
        os.waitpid(status.pid, os.WUNTRACED)


def test_a_broker_that_is_frozen_a_while_gets_everything_once(own_broker: EmbeddedBroker) -> None:
    connection = KafkaConnection(own_broker.start())
    make(connection, "t", 1)
    with KafkaWriter(connection) as writer:
        writer.send("t", b"before").wait()
        harm(own_broker, signal.SIGSTOP)
        sent = writer.send("t", b"during")
        with pytest.raises(DependencyError, match=r"within 0\.2 s"):
            sent.wait(0.2)
        with pytest.raises(DependencyError, match=r"within 0\.2 s"):
            writer.flush(0.2)
        assert not sent.done
        harm(own_broker, signal.SIGCONT)
        sent.wait(60)
    assert [each.value for each in records(connection, "t")] == [b"before", b"during"]


def test_a_broker_that_is_gone_is_told_by_flush_wait_and_send(
    own_broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = KafkaConnection(own_broker.start())
    make(connection, "t", 1)
    threads = threading.active_count()
    writer = KafkaWriter(connection, delivery_timeout_s=3.0)
    writer.send("t", b"before").wait()
    harm(own_broker, signal.SIGKILL)
    sent = [writer.send("t", b"lost") for _ in range(2)]
    with pytest.raises(BrokerUnreachableError, match="2 records were not delivered"):
        writer.flush()
    with pytest.raises(BrokerUnreachableError, match="oddtide up"):
        sent[0].wait()
    with pytest.raises(BrokerUnreachableError):
        writer.send("t", b"too late")
    assert own_broker.start() == connection.bootstrap
    writer.send("t", b"after").wait()
    writer.close()
    assert [each.value for each in records(connection, "t")] == [b"before", b"after"]
    assert threading.active_count() == threads


def test_closing_does_not_wait_for_a_broker_that_is_gone(
    own_broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "_CLOSE_S", 0.2)
    connection = KafkaConnection(own_broker.start())
    make(connection, "t", 1)
    threads = threading.active_count()
    writer = KafkaWriter(connection, delivery_timeout_s=60.0)
    writer.send("t", b"before").wait()
    harm(own_broker, signal.SIGKILL)
    writer.send("t", b"lost")
    writer.close()
    assert threading.active_count() == threads


def test_a_full_buffer_gives_up_when_nothing_is_taken_any_more(
    own_broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "_IN_FLIGHT_BYTES", 1_000)
    monkeypatch.setattr(writer_module, "_CLOSE_S", 0.2)
    connection = KafkaConnection(own_broker.start())
    make(connection, "t", 1)
    writer = KafkaWriter(connection, delivery_timeout_s=60.0)
    writer.send("t", b"before").wait()
    writer._timeout_s = 0.2
    harm(own_broker, signal.SIGSTOP)
    writer.send("t", b"x" * 900)
    with pytest.raises(BrokerUnreachableError):
        writer.send("t", b"x" * 900)
    harm(own_broker, signal.SIGCONT)
    writer.close()
