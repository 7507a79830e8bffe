"""Topics, offsets and groups of a real Kafka."""

from __future__ import annotations

import dataclasses
import gc

import pytest
from kafka import KafkaConsumer

from oddtide.adapters.kafka import KafkaAdmin, KafkaConnection, KafkaReader, KafkaWriter
from oddtide.adapters.kafka import admin as admin_module
from oddtide.adapters.kafka.connection import connect
from oddtide.domain.errors import BrokerUnreachableError, ConfigurationError, NotFoundError
from oddtide.streams.topics import TopicCatalogue, TopicSpec


def spec(name: str, partitions: int = 1, **config: str) -> TopicSpec:
    settings = {key.replace("_", "."): value for key, value in config.items()}
    return TopicSpec(name, "readings", "series", (), partitions, "a test", settings)


@pytest.fixture
def connection(kafka: str) -> KafkaConnection:
    return KafkaConnection(kafka)


def test_a_catalogue_is_made_once_and_then_matches(connection: KafkaConnection, topic_prefix: str) -> None:
    specs = TopicCatalogue((("flow", f"{topic_prefix}.readings", 3),), prefix=topic_prefix).all()
    with KafkaAdmin(connection) as admin:
        assert {each.kind for each in admin.mismatches(specs)} == {"missing"}
        assert sorted(admin.ensure(specs, replication=1)) == sorted(each.name for each in specs)
        assert admin.ensure(specs) == []
        assert admin.ensure([]) == []
        assert admin.mismatches(specs) == []
        assert {each.name for each in specs} <= set(admin.names())
        assert admin.describe(f"{topic_prefix}.readings").partitions == 3


def test_each_mismatch_says_what_to_do(connection: KafkaConnection, topic_prefix: str) -> None:
    with KafkaAdmin(connection) as admin:
        made = spec(topic_prefix, 2, retention_ms="1000")
        admin.ensure([made])
        found = admin.describe(topic_prefix)
        assert (found.partitions, found.replication, found.config["retention.ms"]) == (2, 1, "1000")
        wanted = dataclasses.replace(made, partitions=3, config={"retention.ms": "-1", "cleanup.policy": "delete"})
        partitions, config, missing = admin.mismatches([wanted, spec(f"{topic_prefix}-other")])
        assert partitions.problem == f"The topic {topic_prefix!r} has 2 partitions, not 3"
        assert "never changed in place" in partitions.remedy
        assert config.problem == f"The topic {topic_prefix!r} has retention.ms = '1000', not '-1'"
        assert "retention.ms=-1" in config.remedy
        assert missing.remedy == "Run `oddtide topics create`."


def test_what_kafka_refuses_to_make_is_a_configuration_error(connection: KafkaConnection, topic_prefix: str) -> None:
    with KafkaAdmin(connection) as admin:
        for wrong in (spec("not a name"), spec(topic_prefix, no_such="setting")):
            with pytest.raises(ConfigurationError, match=f"does not make the topic {wrong.name!r}"):
                admin.ensure([wrong])
        with pytest.raises(ConfigurationError, match=r"replicat.*kafka\.replication"):
            admin.ensure([spec(topic_prefix)], replication=3)


def test_a_topic_that_someone_else_makes_meanwhile_is_no_error(
    connection: KafkaConnection, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with KafkaAdmin(connection) as admin:
        admin.ensure([spec(topic_prefix)])
        monkeypatch.setattr(admin, "_shapes", lambda topics: {})
        assert admin.ensure([spec(topic_prefix)]) == []


def test_what_is_not_there_is_not_found(connection: KafkaConnection, topic_prefix: str) -> None:
    with KafkaAdmin(connection) as admin:
        for ask in (admin.describe, admin.offsets):
            with pytest.raises(NotFoundError, match=f"no topic {topic_prefix!r}"):
                ask(topic_prefix)
        with pytest.raises(NotFoundError):
            admin.delete([topic_prefix])
        assert admin.committed(topic_prefix) == {}
        assert admin.members(topic_prefix) == []


def test_offsets_and_groups(connection: KafkaConnection, topic_prefix: str) -> None:
    with KafkaAdmin(connection) as admin, KafkaWriter(connection) as writer:
        admin.ensure([spec(topic_prefix, 2)])
        for _ in range(3):
            writer.send(topic_prefix, b"x", partition=1)
        writer.flush()
        assert admin.offsets(topic_prefix) == {0: (0, 0), 1: (0, 3)}
        with KafkaReader(connection) as reader:
            assert len(list(reader.read(topic_prefix, group=topic_prefix, stop_at_end=True))) == 3
        assert admin.committed(topic_prefix)[topic_prefix, 1] == 3
        assert admin.members(topic_prefix) == []
        consumer = connect(KafkaConsumer, connection, group_id=topic_prefix, client_id="someone")
        try:
            consumer.subscribe([topic_prefix])
            while not consumer.assignment():
                consumer.poll(timeout_ms=100)
            (member,) = admin.members(topic_prefix)
        finally:
            consumer.close()
        assert (member.client_id, member.host) == ("someone", "127.0.0.1")
        assert member.partitions == ((topic_prefix, 0), (topic_prefix, 1))


def test_the_client_is_made_again_after_closing_and_topics_go(connection: KafkaConnection, topic_prefix: str) -> None:
    admin = KafkaAdmin(connection)
    admin.ensure([spec(topic_prefix)])
    admin.close()
    admin.close()
    assert admin.ping() == 1
    admin.delete([topic_prefix])
    admin.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tls_to_a_plain_port_is_told(kafka: str) -> None:
    with KafkaAdmin(KafkaConnection(kafka, "SSL")) as admin, pytest.raises(BrokerUnreachableError, match="in SSL"):
        admin.ping()
    gc.collect()  # kafka-python leaves sockets whose handshake failed to the garbage collector, which warns


def test_a_coordinator_that_is_not_elected_in_time_is_an_error(
    connection: KafkaConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kafka.errors import CoordinatorNotAvailableError

    from oddtide.domain.errors import DependencyError

    def nobody() -> None:
        raise CoordinatorNotAvailableError

    monkeypatch.setattr(admin_module, "_COORDINATOR_WITHIN_S", 0.1)
    with KafkaAdmin(connection) as admin, pytest.raises(DependencyError, match="'g'"):
        admin._of_group("g", nobody)
