"""The tables. ``migrations`` builds them; a test holds the two together.

Times are nanoseconds since 1970 (``*_ns``), NULL where the fact is not there. ``document`` is an event as canonical
JSON. Rows are found by an event's id or by a ``key``, the digest of what identifies them.
"""

from __future__ import annotations

from sqlalchemy import Column, Index, MetaData, Table

from oddtide.adapters.storage.columns import Label, Number, Whole

__all__ = [
    "ALERTS",
    "ALERT_HISTORY",
    "DEGRADED",
    "DETECTIONS",
    "DETECTION_SERIES",
    "DRIFTS",
    "DRIFT_COUNTS",
    "FEEDBACK",
    "LEDGER_BREAKS",
    "LEDGER_PARTITIONS",
    "LEDGER_REASONS",
    "METADATA",
    "MODELS",
    "MODEL_ALIASES",
    "MODEL_HISTORY",
    "MODEL_VERSIONS",
    "OUTBOX",
    "PROFILES",
    "TRACKING",
    "VIOLATIONS",
    "VIOLATION_COUNTS",
    "WORKERS",
]

METADATA = MetaData()


def _key(name: str) -> Column[str]:
    return Column(name, Label, primary_key=True)


def _label(name: str, *, nullable: bool = False) -> Column[str]:
    return Column(name, Label, nullable=nullable)


def _whole(name: str, *, nullable: bool = False) -> Column[int]:
    return Column(name, Whole, nullable=nullable)


def _number(name: str) -> Column[float]:
    return Column(name, Number, nullable=True)


#: How far each group of projections has folded each partition. ``silent_until``: up to there it is a rebuild.
TRACKING = Table(
    "tracking", METADATA,
    _key("key"), _label("projection"), _label("topic"), _whole("partition"), _whole("position", nullable=True),
    _whole("silent_until"),
)  # fmt: skip

DETECTIONS = Table(
    "detections", METADATA,
    _key("id"), _label("stream"), _label("series"), _whole("time_ns"), _number("score"), _number("p_value"),
    _label("document"),
    Index("detections_newest", "time_ns", "id"),
)  # fmt: skip

DETECTION_SERIES = Table(
    "detection_series", METADATA,
    _key("key"), _label("stream"), _label("series"), _label("topic"), _whole("partition"), _whole("count"),
    _whole("last_offset"), _whole("last_row"), _whole("time_ns"), _label("id"), _label("document"),
)  # fmt: skip

ALERTS = Table(
    "alerts", METADATA,
    _key("key"), _label("alert"), _label("status"),
    _label("kind", nullable=True), _label("stream", nullable=True), _label("series", nullable=True),
    _label("severity", nullable=True), _label("summary", nullable=True), _whole("opened_ns", nullable=True),
    _whole("last_ns", nullable=True), _whole("count", nullable=True), _label("state_id", nullable=True),
    _label("document", nullable=True),
    _whole("acknowledged_ns", nullable=True), _label("acknowledged_id", nullable=True),
    _label("acknowledged_by", nullable=True), _label("acknowledged_note", nullable=True),
    _whole("resolved_ns", nullable=True), _label("resolved_id", nullable=True), _label("resolved_by", nullable=True),
    _label("resolved_how", nullable=True), _label("resolved_note", nullable=True),
    Index("alerts_newest", "last_ns"),
)  # fmt: skip

ALERT_HISTORY = Table(
    "alert_history", METADATA,
    _key("id"), _label("alert_key"), _label("type"), _whole("time_ns"), _whole("log_offset"), _label("document"),
    Index("alert_history_alert", "alert_key"),
)  # fmt: skip

VIOLATIONS = Table(
    "violations", METADATA,
    _key("id"), _label("stream"), _label("series"), _label("rule"), _whole("time_ns"), _label("document"),
    Index("violations_newest", "time_ns", "id"),
)  # fmt: skip

VIOLATION_COUNTS = Table(
    "violation_counts", METADATA,
    _key("key"), _label("stream"), _label("rule"), _label("feature"), _label("action"), _label("topic"),
    _whole("partition"), _whole("count"), _whole("last_offset"), _whole("last_row"), _whole("time_ns"),
)  # fmt: skip

PROFILES = Table(
    "profiles", METADATA,
    _key("key"), _label("stream"), _label("series"), _label("topic"), _whole("partition"), _whole("last_offset"),
    _whole("readings"), _whole("time_ns"), _label("id"), _label("document"),
)  # fmt: skip

DRIFTS = Table(
    "drifts", METADATA,
    _key("id"), _label("type"), _label("stream"), _label("series"), _whole("time_ns"), _label("document"),
    Index("drifts_newest", "time_ns", "id"),
)  # fmt: skip

DRIFT_COUNTS = Table(
    "drift_counts", METADATA,
    _key("key"), _label("type"), _label("stream"), _label("series"), _label("watched"), _label("topic"),
    _whole("partition"), _whole("count"), _whole("last_offset"), _whole("last_row"), _whole("time_ns"),
)  # fmt: skip

#: The newest fact of each kind a worker. ``seen_ns``: when its last sign of life was logged; ``lost_ns``: up to which
#: sign of life it was held to be lost.
WORKERS = Table(
    "workers", METADATA,
    _key("key"), _label("worker"),
    _whole("started_ns", nullable=True), _label("started", nullable=True),
    _whole("beat_ns", nullable=True), _label("beat", nullable=True), _whole("seen_ns", nullable=True),
    _whole("stopped_ns", nullable=True), _label("stopped", nullable=True),
    _whole("lost_ns", nullable=True), _label("lost", nullable=True),
)  # fmt: skip

DEGRADED = Table(
    "degraded", METADATA,
    _key("key"), _label("worker"), _label("part"), _whole("time_ns"), _label("id"), _label("document"),
)  # fmt: skip

LEDGER_PARTITIONS = Table(
    "ledger_partitions", METADATA,
    _key("key"), _label("stream"), _label("topic"), _whole("partition"), _whole("first_offset"), _whole("position"),
    _whole("batches"), _whole("records"), _whole("holes"), _whole("readings"), _whole("scored"), _whole("rejected"),
    _whole("skipped"), _whole("detections"), _whole("gaps"), _whole("missing"), _whole("repeated"),
    _whole("unbalanced"), _label("hash"), _label("pipeline_version"), _label("build"), _label("worker"),
    _whole("time_ns"),
)  # fmt: skip

LEDGER_REASONS = Table(
    "ledger_reasons", METADATA,
    _key("key"), _label("stream"), _label("topic"), _whole("partition"), _label("outcome"), _label("reason"),
    _whole("count"),
)  # fmt: skip

LEDGER_BREAKS = Table(
    "ledger_breaks", METADATA,
    _key("id"), _label("topic"), _whole("partition"), _whole("time_ns"), _label("document"),
    Index("ledger_breaks_newest", "time_ns", "id"),
)  # fmt: skip

MODELS = Table(
    "models", METADATA,
    _key("key"), _label("model"), _label("stream"), _label("algorithm"), _label("detector"), _whole("time_ns"),
    _label("document", nullable=True),
)  # fmt: skip

MODEL_VERSIONS = Table(
    "model_versions", METADATA,
    _key("key"), _label("model_key"), _label("model"), _whole("version"), _whole("time_ns"),
    _label("document"),
    Index("model_versions_model", "model_key"),
)  # fmt: skip

MODEL_ALIASES = Table(
    "model_aliases", METADATA,
    _key("key"), _label("model_key"), _label("model"), _label("alias"), _whole("version"), _whole("time_ns"),
    _label("by"), _label("document"),
    Index("model_aliases_model", "model_key"),
)  # fmt: skip

MODEL_HISTORY = Table(
    "model_history", METADATA,
    _key("id"), _label("model_key"), _label("type"), _whole("time_ns"), _whole("log_offset"), _label("document"),
    Index("model_history_model", "model_key"),
)  # fmt: skip

FEEDBACK = Table(
    "feedback", METADATA,
    _key("key"), _label("feedback"), _label("verdict", nullable=True), _label("series", nullable=True),
    _label("label", nullable=True), _whole("given_ns", nullable=True), _label("given", nullable=True),
    _whole("withdrawn_ns", nullable=True), _label("withdrawn", nullable=True),
)  # fmt: skip

#: Notifications to send. No part of any projection: it survives a rebuild.
OUTBOX = Table(
    "outbox", METADATA,
    _key("id"), _label("alert"), _label("channel"), _label("state"), _whole("created_ns"), _whole("next_ns"),
    _whole("attempts"), _whole("sent_ns", nullable=True), _label("error"), _label("document"),
    Index("outbox_due", "state", "next_ns"),
)  # fmt: skip
