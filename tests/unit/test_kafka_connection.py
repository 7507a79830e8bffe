"""What a connection's settings become for kafka-python, and what its errors become for people."""

from __future__ import annotations

import logging
import socket
import threading
import time
from pathlib import Path

import pytest
from kafka import errors

from oddtide.adapters.kafka import KafkaAdmin, KafkaConnection, KafkaReader, KafkaWriter
from oddtide.adapters.kafka.connection import connect, explain
from oddtide.domain.errors import (
    BrokerUnreachableError,
    ConfigurationError,
    DependencyError,
    NotFoundError,
    OddtideError,
    UsageError,
)


def test_plain_needs_nothing_but_the_address() -> None:
    assert KafkaConnection("one:9092, [::1]:9093").client_options() == {
        "bootstrap_servers": ["one:9092", "[::1]:9093"],
        "security_protocol": "PLAINTEXT",
    }


def test_tls_maps_its_files(tmp_path: Path) -> None:
    files = {name: str(tmp_path / name) for name in ("ssl_cafile", "ssl_certfile", "ssl_keyfile")}
    for path in files.values():
        Path(path).touch()
    connection = KafkaConnection("one:9092", security_protocol="SSL", **files)
    assert connection.client_options() == {
        "bootstrap_servers": ["one:9092"],
        "security_protocol": "SSL",
        **files,
    }
    assert "ssl_keyfile" not in KafkaConnection("one:9092", "SSL", ssl_cafile=files["ssl_cafile"]).client_options()


@pytest.mark.parametrize("mechanism", [None, "SCRAM-SHA-256", "SCRAM-SHA-512"])
@pytest.mark.parametrize("protocol", ["SASL_PLAINTEXT", "SASL_SSL"])
def test_sasl_maps_user_and_password(protocol: str, mechanism: str | None) -> None:
    connection = KafkaConnection(
        "one:9092", protocol, sasl_mechanism=mechanism, sasl_username="me", sasl_password="secret"
    )
    assert connection.client_options() == {
        "bootstrap_servers": ["one:9092"],
        "security_protocol": protocol,
        "sasl_mechanism": mechanism or "PLAIN",
        "sasl_plain_username": "me",
        "sasl_plain_password": "secret",
    }
    assert "secret" not in repr(connection)


@pytest.mark.parametrize(
    ("connection", "words"),
    [
        (KafkaConnection(""), "kafka.bootstrap = ''"),
        (KafkaConnection("host"), "host:port"),
        (KafkaConnection("host:no"), "'host:no'"),
        (KafkaConnection("host:70000"), "70000"),
        (KafkaConnection("host:1", "TLS"), "kafka.security_protocol = 'TLS'"),
        (KafkaConnection("host:1", "SSL", ssl_cafile="/no/such"), "kafka.ssl_cafile = '/no/such'"),
        (KafkaConnection("host:1", "SASL_SSL"), "kafka.sasl_username"),
        (KafkaConnection("host:1", "SASL_SSL", sasl_mechanism="GSSAPI"), "kafka.sasl_mechanism = 'GSSAPI'"),
    ],
)
def test_what_cannot_work_names_the_setting(connection: KafkaConnection, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        connection.client_options()
    assert words in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (errors.UnknownTopicOrPartitionError(), NotFoundError, "no topic 'x'"),
        (errors.MessageSizeTooLargeError(), UsageError, "max.message.bytes"),
        (errors.SaslAuthenticationFailedError("bad password"), DependencyError, "bad password"),
        (errors.TopicAuthorizationFailedError("x"), DependencyError, "ACLs"),
        (errors.KafkaTimeoutError(), BrokerUnreachableError, "No Kafka answers at 127.0.0.1:1"),
        (errors.UnknownError("hm\nmore"), DependencyError, "hm"),
    ],
)
def test_their_errors_become_ours(error: Exception, kind: type[OddtideError], words: str) -> None:
    ours = explain(error, KafkaConnection("127.0.0.1:1"), "x")
    assert type(ours) is kind
    assert words in str(ours)
    assert "\n" not in str(ours)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients give up after half a second."""
    monkeypatch.setattr("oddtide.adapters.kafka.connection._GIVE_UP_MS", 500)


@pytest.mark.usefixtures("impatient")
def test_a_client_that_cannot_connect_leaves_no_thread() -> None:
    before = threading.active_count()
    started = time.monotonic()
    connection = KafkaConnection("127.0.0.1:1,127.0.0.1:2")
    with KafkaAdmin(connection) as admin, pytest.raises(BrokerUnreachableError, match=r"127\.0\.0\.1:1.*oddtide up"):
        admin.ping()
    assert time.monotonic() - started < 60
    assert threading.active_count() == before


@pytest.mark.usefixtures("impatient")
def test_the_writer_and_the_reader_say_the_same() -> None:
    connection = KafkaConnection("127.0.0.1:1")
    with KafkaWriter(connection) as writer, pytest.raises(BrokerUnreachableError):
        writer.send("t", b"x")
    with KafkaReader(connection) as reader, pytest.raises(BrokerUnreachableError):
        list(reader.read("t"))


@pytest.mark.usefixtures("impatient")
def test_something_that_is_no_kafka_is_told_from_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        connection = KafkaConnection(f"127.0.0.1:{silent.getsockname()[1]}")
        with KafkaAdmin(connection) as admin, pytest.raises(BrokerUnreachableError, match="Something listens"):
            admin.ping()


@pytest.mark.parametrize(("before", "after"), [(logging.NOTSET, logging.CRITICAL), (logging.INFO, logging.INFO)])
def test_using_a_client_hushes_kafka_python_unless_told_otherwise(before: int, after: int) -> None:
    logger = logging.getLogger("kafka")
    kept = logger.level
    try:
        logger.setLevel(before)
        assert connect(lambda **options: "made", KafkaConnection("127.0.0.1:1")) == "made"
        assert logger.level == after
    finally:
        logger.setLevel(kept)
