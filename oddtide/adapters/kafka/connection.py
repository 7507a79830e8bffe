"""How to reach a cluster, and what its errors mean."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from oddtide.domain.errors import (
    BrokerUnreachableError,
    ConfigurationError,
    DependencyError,
    NotFoundError,
    OddtideError,
    UsageError,
)

if TYPE_CHECKING:
    from kafka.net.compat import KafkaNetClient

__all__ = ["KafkaConnection", "connect", "explain", "explained", "too_large", "unreachable"]

Client = TypeVar("Client")

_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_GIVE_UP_MS = 5_000


@dataclass(frozen=True)
class KafkaConnection:
    """A cluster's address (``host:port``, several separated by commas) and how to prove who we are."""

    bootstrap: str
    security_protocol: str = "PLAINTEXT"
    ssl_cafile: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    sasl_mechanism: str | None = None
    sasl_username: str | None = None
    sasl_password: str | None = field(default=None, repr=False)

    def client_options(self) -> dict[str, Any]:
        """Keywords for kafka-python's clients. Raises ``ConfigurationError`` for what can not work."""
        options: dict[str, Any] = {"bootstrap_servers": self._servers(), "security_protocol": self._protocol()}
        if self.security_protocol.endswith("SSL"):
            options |= self._tls_options()
        if self.security_protocol.startswith("SASL"):
            options |= self._sasl_options()
        return options

    def _servers(self) -> list[str]:
        servers = [server.strip() for server in self.bootstrap.split(",") if server.strip()]
        for server in servers or [self.bootstrap]:
            host, _, port = server.rpartition(":")
            if not host or not port.isdigit() or not 0 < int(port) < 65_536:
                raise ConfigurationError(
                    f"kafka.bootstrap = {self.bootstrap!r} is not a list of host:port.",
                    remedy='Write for example "localhost:9092" or "kafka-1:9092,kafka-2:9092".',
                )
        return servers

    def _protocol(self) -> str:
        if self.security_protocol not in _PROTOCOLS:
            raise ConfigurationError(
                f"kafka.security_protocol = {self.security_protocol!r} is unknown.",
                remedy=f"Use one of {', '.join(_PROTOCOLS)}.",
            )
        return self.security_protocol

    def _tls_options(self) -> dict[str, Any]:
        files = {name: getattr(self, name) for name in ("ssl_cafile", "ssl_certfile", "ssl_keyfile")}
        files = {name: path for name, path in files.items() if path}
        for name, path in files.items():
            if not Path(path).is_file():
                raise ConfigurationError(f"kafka.{name} = {path!r} is not a file.", remedy="Correct the path.")
        return files

    def _sasl_options(self) -> dict[str, Any]:
        mechanism = self.sasl_mechanism or "PLAIN"
        if mechanism not in _MECHANISMS:
            raise ConfigurationError(
                f"kafka.sasl_mechanism = {mechanism!r} is not supported.",
                remedy=f"Use one of {', '.join(_MECHANISMS)}.",
            )
        if not self.sasl_username or self.sasl_password is None:
            raise ConfigurationError(
                f"kafka.security_protocol = {self.security_protocol!r} needs a user name and a password.",
                remedy="Set kafka.sasl_username and kafka.sasl_password.",
            )
        return {
            "sasl_mechanism": mechanism,
            "sasl_plain_username": self.sasl_username,
            "sasl_plain_password": self.sasl_password,
        }


def connect(kind: Callable[..., Client], connection: KafkaConnection, **options: Any) -> Client:
    """Make a kafka-python client of ``kind``. One that can not connect leaves no thread and no socket behind."""
    _hush()
    from kafka.net.compat import KafkaNetClient

    from oddtide.adapters.kafka.sockets import NO_PROXY

    networks: list[KafkaNetClient] = []

    def network(**settings: Any) -> KafkaNetClient:
        networks.append(KafkaNetClient(**settings))
        return networks[-1]

    options = {
        "bootstrap_timeout_ms": _GIVE_UP_MS,
        "reconnect_backoff_max_ms": 1_000,
        "kafka_client": network,
        "proxy_url": NO_PROXY,
        **connection.client_options(),
        **options,
    }
    try:
        with explained(connection):
            return kind(**options)
    except BaseException:
        for each in networks:
            each.close()
        raise


@contextmanager
def explained(connection: KafkaConnection, subject: str = "") -> Iterator[None]:
    """Turn kafka-python's errors inside into ours. ``subject`` is the topic or group that was asked for."""
    from kafka.errors import KafkaError

    try:
        yield
    except KafkaError as error:
        raise explain(error, connection, subject) from error


def explain(error: Exception, connection: KafkaConnection, subject: str = "") -> OddtideError:
    """Our error for one of kafka-python's."""
    from kafka import errors

    if isinstance(error, (errors.UnknownTopicOrPartitionError, errors.UnknownTopicIdError)):
        return NotFoundError(
            f"There is no topic {subject!r} on {connection.bootstrap}.",
            remedy="`oddtide topics list` shows those there are, `oddtide topics create` makes ours.",
        )
    if isinstance(error, (errors.MessageSizeTooLargeError, errors.RecordListTooLargeError)):
        return too_large(subject)
    if isinstance(error, (errors.SaslAuthenticationFailedError, errors.AuthorizationError)):
        return DependencyError(
            f"Kafka at {connection.bootstrap} refused us: {_text(error)}.",
            remedy="Check kafka.sasl_username, kafka.sasl_password, kafka.sasl_mechanism and the cluster's ACLs.",
        )
    if isinstance(error, _unreachable()):
        return unreachable(connection)
    return DependencyError(f"Kafka at {connection.bootstrap} answered: {_text(error)}.", remedy=_about(subject))


def too_large(topic: str, size: int = 0, limit: int = 0) -> UsageError:
    """A record that the topic does not take."""
    sizes = f" It has {size} bytes, the topic takes {limit}." if size else ""
    return UsageError(
        f"A record for the topic {topic!r} is too large.{sizes}",
        remedy="Send less in one record, or raise the topic's max.message.bytes.",
    )


def unreachable(connection: KafkaConnection) -> BrokerUnreachableError:
    """No broker answers: says whether nothing listens, or something that does not speak as expected."""
    if _listens(connection):
        protocol = connection.security_protocol
        return BrokerUnreachableError(
            f"Something listens at {connection.bootstrap}, but no Kafka answers there in {protocol}.",
            remedy="Check kafka.bootstrap, kafka.security_protocol and the certificates.",
        )
    return BrokerUnreachableError(
        f"No Kafka answers at {connection.bootstrap}.",
        remedy="Start the embedded one with `oddtide up`, or correct kafka.bootstrap.",
    )


def _unreachable() -> tuple[type[Exception], ...]:
    from kafka import errors

    return (
        errors.KafkaTimeoutError,
        errors.KafkaConnectionError,
        errors.NodeNotReadyError,
        errors.RequestTimedOutError,
        errors.BrokerNotAvailableError,
        errors.UnrecognizedBrokerVersion,
        errors.KafkaProtocolError,
    )


def _listens(connection: KafkaConnection) -> bool:
    for server in connection.bootstrap.split(","):
        host, _, port = server.strip().rpartition(":")
        with suppress(OSError), socket.create_connection((host.strip("[]"), int(port)), timeout=1.0):
            return True
    return False


def _text(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def _about(subject: str) -> str:
    return f"It was about {subject!r}." if subject else ""


def _hush() -> None:
    logger = logging.getLogger("kafka")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL)
