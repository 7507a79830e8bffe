"""The sections of the settings file. Every field says what it means and in which unit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

if TYPE_CHECKING:
    from oddtide.streams.snapshotting import SnapshotPolicy

__all__ = [
    "AlertSettings",
    "ArtifactSettings",
    "DayAlertSettings",
    "EmbeddedSettings",
    "KafkaSettings",
    "LogSettings",
    "Section",
    "SnapshotSettings",
    "StorageSettings",
    "WebhookSettings",
    "WorkerSettings",
]

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
Severity = Literal["info", "warning", "critical"]
AlertKind = Literal["health", "absence", "anomaly", "drift", "quality"]


class Section(BaseModel):
    """Base of all sections: unknown keys are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class KafkaSettings(Section):
    """The cluster, and how our own topics are made on it."""

    bootstrap: str = Field(
        default="embedded",
        min_length=1,
        description="Addresses of the brokers, host:port, comma-separated; 'embedded' is the one `oddtide up` starts.",
    )
    security_protocol: SecurityProtocol = Field(default="PLAINTEXT", description="How to connect to the brokers.")
    ssl_cafile: Path | None = Field(default=None, description="File with the certificates to trust (PEM).")
    ssl_certfile: Path | None = Field(default=None, description="File with our own certificate (PEM), for mutual TLS.")
    ssl_keyfile: Path | None = Field(default=None, description="File with the key of our own certificate (PEM).")
    sasl_mechanism: SaslMechanism = Field(default="PLAIN", description="How to log in, where the protocol is SASL_*.")
    sasl_username: str = Field(default="", description="User name, where the protocol is SASL_*.")
    sasl_password: SecretStr = Field(default=SecretStr(""), description="Password, where the protocol is SASL_*.")
    replication: int = Field(default=1, ge=1, le=16, description="Replicas of each topic that we create (count).")
    result_partitions: int = Field(default=4, ge=1, le=10_000, description="Partitions of each result topic (count).")
    retention_days: int = Field(default=30, ge=1, description="How long readings and results are kept (days).")


class EmbeddedSettings(Section):
    """The Kafka that `oddtide up` starts on this machine."""

    port: int = Field(
        default=29092, ge=0, le=65_535, description="Port on 127.0.0.1 for clients; 0: a free one, kept for the folder."
    )
    heap_mib: int = Field(default=512, ge=128, description="Java heap (MiB).")


class StorageSettings(Section):
    """Where the read models live."""

    url: SecretStr = Field(
        default=SecretStr(""),
        description="SQLAlchemy URL, e.g. postgresql+psycopg://user:password@host/name. "
        "Empty: SQLite in the data folder.",
    )


class WorkerSettings(Section):
    """How a worker runs."""

    session_timeout_s: float = Field(
        default=10.0, ge=1.0, le=300.0, description="Silence after which a worker's partitions go to others (seconds)."
    )
    instance_id: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9._-]{0,100}$",
        description="Name of this worker in Kafka's groups, the same after a restart and no other worker's: with it a "
        "quick restart moves no partition. Empty: made of host, data folder and a number.",
    )
    heartbeat_s: float = Field(default=5.0, gt=0.0, le=300.0, description="Interval of the heartbeat events (seconds).")
    max_batch: int = Field(
        default=20_000, ge=1, le=100_000, description="Most records of a partition per batch (count)."
    )
    memory_mib: float = Field(
        default=512.0,
        ge=0.0,
        description="Most that the state of series may take in a worker's memory (MiB); beyond it the series idle "
        "longest sleep on disk, in the data folder. 0: no limit.",
    )
    metrics: bool = Field(default=True, description="Whether to serve /metrics, /readyz and /livez.")
    metrics_host: str = Field(default="127.0.0.1", description="Address on which they are served.")
    metrics_port: int = Field(
        default=9464,
        ge=0,
        le=65_535,
        description="Their port, of further instances the ones after it; 0: a free one, which is also taken where the "
        "default is in use.",
    )


class AlertSettings(Section):
    """What opens an alert, how grave it is, and when it ends."""

    kinds: list[AlertKind] = Field(
        default=["health", "absence", "anomaly", "drift", "quality"], description="What opens alerts at all."
    )
    quiet_s: float = Field(
        default=900.0, gt=0.0, description="An alert resolves by itself after this long without a cause (seconds)."
    )
    update_s: float = Field(
        default=30.0, gt=0.0, description="A change of the count is logged after this long at the latest (seconds)."
    )
    warning_p: float = Field(
        default=1e-4, gt=0.0, le=1.0, description="An anomaly at or below this p-value is a warning, above only info."
    )
    critical_p: float = Field(default=1e-9, ge=0.0, le=1.0, description="At or below this p-value it is critical.")


class DayAlertSettings(AlertSettings):
    """The same for every stream, and how many alerts there may be."""

    per_day: int = Field(
        default=0,
        ge=0,
        le=1_000_000,
        description="At most so many alerts of anomalies a day over all series, the strongest if possible; the others "
        "are withheld, and one alert sums them up once the day is over (count). 0: no limit.",
    )
    time_zone: str = Field(
        default="UTC", description="Whose days are meant (IANA name, as in Europe/Vienna); event time counts."
    )

    @field_validator("time_zone")
    @classmethod
    def _known(cls, name: str) -> str:
        from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"there is no time zone {name!r}; write one as Europe/Vienna, or UTC") from None
        return name


class WebhookSettings(Section):
    """One receiver of notifications: each opened alert is sent there once, retried until it arrives."""

    name: str = Field(default="webhook", min_length=1, max_length=100, description="Name in log lines and the outbox.")
    url: SecretStr = Field(description="http(s) address that gets a POST with the alert as a CloudEvent in JSON.")
    secret: SecretStr = Field(
        default=SecretStr(""), description="Signs each request: Oddtide-Signature is the HMAC-SHA-256 of the body."
    )
    minimum_severity: Severity = Field(
        default="warning", description="Alerts that open below this severity are not told."
    )
    timeout_s: float = Field(default=10.0, gt=0.0, le=300.0, description="How long to wait for an answer (seconds).")
    headers: dict[str, SecretStr] = Field(default_factory=dict, description="HTTP headers to send along.")
    ca_file: Path | None = Field(default=None, description="File with certificates to trust (PEM), for one's own CA.")


class ArtifactSettings(Section):
    """Where trained models lie. Each is signed; one without a valid signature is never loaded."""

    folder: Path | None = Field(
        default=None, description="Folder for artifacts. Unset: `artifacts` in the data folder."
    )
    key: SecretStr = Field(
        default=SecretStr(""),
        description="Secret that artifacts are signed with; the same on all machines. Empty: one made on first use "
        "and kept in the data folder.",
    )


class SnapshotSettings(Section):
    """Snapshots of each partition's state: what a new owner starts from instead of the beginning of the log."""

    every_s: float = Field(
        default=30.0, gt=0.0, description="Interval between two snapshots of a partition whose state changes (seconds)."
    )
    share: float = Field(
        default=0.05,
        gt=0.0,
        le=1.0,
        description="Most of a worker's time that snapshots may take; big states are stored less often (fraction).",
    )
    fold_s: float = Field(
        default=1.0,
        gt=0.0,
        description="The next one is due sooner where this much folding has come together, which a new owner would do "
        "again (seconds).",
    )
    keep: int = Field(default=3, ge=1, le=1_000, description="Snapshots kept of each partition, the newest (count).")
    url: str = Field(
        default="",
        description="Store for them, for workers on several machines: s3://, gs://, abfs:// or file:// and a path. "
        "Empty: `snapshots` in the data folder.",
    )
    options: dict[str, SecretStr] = Field(
        default_factory=dict, description="Options of the store, as fsspec names them: key, secret, endpoint_url ..."
    )

    def policy(self) -> SnapshotPolicy:
        """When one is due, and how many are kept."""
        from oddtide.streams.snapshotting import SnapshotPolicy

        return SnapshotPolicy(every_s=self.every_s, share=self.share, keep=self.keep, fold_s=self.fold_s)

    def storage_options(self) -> dict[str, str]:
        """The options in plain text."""
        return {name: value.get_secret_value() for name, value in self.options.items()}


class LogSettings(Section):
    """Log lines; they go to stderr."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="The least level to write.")
    format: Literal["text", "json"] = Field(default="text", description="For people (text) or one JSON object a line.")
