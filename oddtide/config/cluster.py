"""The composition's Kafka: which cluster it is, and everything that speaks to it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from oddtide.config.settings import Settings
from oddtide.domain.errors import BrokerUnreachableError

if TYPE_CHECKING:
    from oddtide.adapters.embedded.broker import EmbeddedBroker
    from oddtide.adapters.kafka.admin import KafkaAdmin
    from oddtide.adapters.kafka.connection import KafkaConnection
    from oddtide.adapters.kafka.reader import KafkaReader
    from oddtide.adapters.kafka.writer import KafkaWriter
    from oddtide.streams.broker import BrokerAccess

__all__ = ["Cluster"]


class Cluster:
    """The cluster that the settings name. Nothing is connected before it is asked for; clients are made anew on each
    call."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def embedded(self) -> EmbeddedBroker:
        """The Kafka of the data folder, running or not."""
        from oddtide.adapters.embedded.broker import EmbeddedBroker

        embedded = self.settings.embedded
        return EmbeddedBroker(self.settings.data_folder / "kafka", port=embedded.port, heap_mib=embedded.heap_mib)

    @cached_property
    def bootstrap(self) -> str:
        """The brokers' addresses. Raises ``BrokerUnreachableError`` when the embedded Kafka does not run."""
        if not self.settings.embedded_kafka:
            return self.settings.kafka.bootstrap
        status = self.embedded().status()
        if status is None:
            raise BrokerUnreachableError(
                f"The embedded Kafka of {self.settings.data_folder} does not run.",
                remedy="Start it with `oddtide up`, or set kafka.bootstrap to a Kafka that runs.",
            )
        return status.bootstrap

    def connection(self) -> KafkaConnection:
        """How the blocking clients reach the cluster."""
        from oddtide.adapters.kafka.connection import KafkaConnection

        return KafkaConnection(self.bootstrap, **self._security())

    def broker_access(self) -> BrokerAccess:
        """How the agents reach it."""
        from oddtide.streams.broker import BrokerAccess

        return BrokerAccess(self.bootstrap, self._security())

    def admin(self) -> KafkaAdmin:
        """Topics, offsets, groups. A context manager."""
        from oddtide.adapters.kafka.admin import KafkaAdmin

        return KafkaAdmin(self.connection())

    def writer(self) -> KafkaWriter:
        """Sends records. A context manager."""
        from oddtide.adapters.kafka.writer import KafkaWriter

        return KafkaWriter(self.connection())

    def reader(self) -> KafkaReader:
        """Reads records. A context manager."""
        from oddtide.adapters.kafka.reader import KafkaReader

        return KafkaReader(self.connection())

    def _security(self) -> dict[str, Any]:
        kafka = self.settings.kafka
        security: dict[str, Any] = {"security_protocol": kafka.security_protocol}
        if kafka.security_protocol.endswith("SSL"):
            for name in ("ssl_cafile", "ssl_certfile", "ssl_keyfile"):
                path = getattr(kafka, name)
                security[name] = str(path) if path else None
        if kafka.security_protocol.startswith("SASL"):
            security["sasl_mechanism"] = kafka.sasl_mechanism
            security["sasl_username"] = kafka.sasl_username
            security["sasl_password"] = kafka.sasl_password.get_secret_value()
        return security
