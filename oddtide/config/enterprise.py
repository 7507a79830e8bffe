"""The composition ``enterprise``: several machines, an external Kafka, PostgreSQL; no anonymous plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oddtide.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from oddtide.config.sections import ArtifactSettings, KafkaSettings, StorageSettings

__all__ = ["check", "defaults"]


def defaults() -> dict[str, Any]:
    """TLS, three replicas, log lines as JSON, metrics reachable from outside."""
    return {
        "kafka": {"security_protocol": "SASL_SSL", "replication": 3},
        "log": {"format": "json"},
        "worker": {"metrics_host": "0.0.0.0"},  # Prometheus scrapes from another machine
    }


def check(kafka: KafkaSettings, storage: StorageSettings, artifacts: ArtifactSettings) -> None:
    """Demand what several machines need. Raises ``ConfigurationError`` with the first thing missing."""
    if kafka.bootstrap == "embedded":
        _refuse("kafka.bootstrap is 'embedded'", 'Set kafka.bootstrap to your brokers, e.g. "kafka-1:9093".')
    if kafka.security_protocol == "PLAINTEXT":
        _refuse("kafka.security_protocol is 'PLAINTEXT'", 'Set it to "SSL", "SASL_SSL" or "SASL_PLAINTEXT".')
    if kafka.security_protocol.startswith("SASL") and not kafka.sasl_username:
        _refuse("kafka.sasl_username is empty", "Set it, and ODDTIDE_KAFKA__SASL_PASSWORD in the environment.")
    if not storage.url.get_secret_value().startswith("postgresql"):
        _refuse("storage.url is not PostgreSQL", "Set it to postgresql+psycopg://user:password@host/name.")
    if not artifacts.key.get_secret_value():
        _refuse("artifacts.key is empty", "Set ODDTIDE_ARTIFACTS__KEY to the same secret on every machine.")


def _refuse(problem: str, remedy: str) -> None:
    raise ConfigurationError(f"The composition 'enterprise' cannot stand on this: {problem}.", remedy=remedy)
