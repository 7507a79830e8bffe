"""The spine's read models: detections, alerts, quality, drift, health, models, feedback, outbox, positions."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Bytewise order on both databases.
_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _key(name: str) -> sa.Column[Any]:
    return sa.Column(name, _TEXT, primary_key=True)


def _label(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, _TEXT, nullable=nullable)


def _whole(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger, nullable=nullable)


def _number(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Double, nullable=True)


def upgrade() -> None:
    """Build the tables."""
    _build_progress()
    _build_observability()
    _build_health()
    _build_models()


def _build_progress() -> None:
    op.create_table(
        "tracking",
        _key("key"), _label("projection"), _label("topic"), _whole("partition"), _whole("position", nullable=True),
        _whole("silent_until"),
    )  # fmt: skip
    op.create_table(
        "outbox",
        _key("id"), _label("alert"), _label("channel"), _label("state"), _whole("created_ns"), _whole("next_ns"),
        _whole("attempts"), _whole("sent_ns", nullable=True), _label("error"), _label("document"),
    )  # fmt: skip
    op.create_index("outbox_due", "outbox", ["state", "next_ns"])


def _build_observability() -> None:
    op.create_table(
        "detections",
        _key("id"), _label("stream"), _label("series"), _whole("time_ns"), _number("score"), _number("p_value"),
        _label("document"),
    )  # fmt: skip
    op.create_index("detections_newest", "detections", ["time_ns", "id"])
    op.create_table(
        "detection_series",
        _key("key"), _label("stream"), _label("series"), _label("topic"), _whole("partition"), _whole("count"),
        _whole("last_offset"), _whole("last_row"), _whole("time_ns"), _label("id"), _label("document"),
    )  # fmt: skip
    op.create_table(
        "alerts",
        _key("key"), _label("alert"), _label("status"), _label("kind", nullable=True),
        _label("stream", nullable=True), _label("series", nullable=True), _label("severity", nullable=True),
        _label("summary", nullable=True), _whole("opened_ns", nullable=True), _whole("last_ns", nullable=True),
        _whole("count", nullable=True), _label("state_id", nullable=True), _label("document", nullable=True),
        _whole("acknowledged_ns", nullable=True), _label("acknowledged_id", nullable=True),
        _label("acknowledged_by", nullable=True), _label("acknowledged_note", nullable=True),
        _whole("resolved_ns", nullable=True), _label("resolved_id", nullable=True),
        _label("resolved_by", nullable=True), _label("resolved_how", nullable=True),
        _label("resolved_note", nullable=True),
    )  # fmt: skip
    op.create_index("alerts_newest", "alerts", ["last_ns"])
    op.create_table(
        "alert_history",
        _key("id"), _label("alert_key"), _label("type"), _whole("time_ns"), _whole("log_offset"),
        _label("document"),
    )  # fmt: skip
    op.create_index("alert_history_alert", "alert_history", ["alert_key"])
    op.create_table(
        "violations",
        _key("id"), _label("stream"), _label("series"), _label("rule"), _whole("time_ns"), _label("document"),
    )  # fmt: skip
    op.create_index("violations_newest", "violations", ["time_ns", "id"])
    op.create_table(
        "violation_counts",
        _key("key"), _label("stream"), _label("rule"), _label("feature"), _label("action"), _label("topic"),
        _whole("partition"), _whole("count"), _whole("last_offset"), _whole("last_row"), _whole("time_ns"),
    )  # fmt: skip
    op.create_table(
        "profiles",
        _key("key"), _label("stream"), _label("series"), _label("topic"), _whole("partition"),
        _whole("last_offset"), _whole("readings"), _whole("time_ns"), _label("id"), _label("document"),
    )  # fmt: skip
    op.create_table(
        "drifts",
        _key("id"), _label("type"), _label("stream"), _label("series"), _whole("time_ns"), _label("document"),
    )  # fmt: skip
    op.create_index("drifts_newest", "drifts", ["time_ns", "id"])
    op.create_table(
        "drift_counts",
        _key("key"), _label("type"), _label("stream"), _label("series"), _label("watched"), _label("topic"),
        _whole("partition"), _whole("count"), _whole("last_offset"), _whole("last_row"), _whole("time_ns"),
    )  # fmt: skip
    op.create_table(
        "feedback",
        _key("key"), _label("feedback"), _label("verdict", nullable=True), _label("series", nullable=True),
        _label("label", nullable=True), _whole("given_ns", nullable=True), _label("given", nullable=True),
        _whole("withdrawn_ns", nullable=True), _label("withdrawn", nullable=True),
    )  # fmt: skip


def _build_health() -> None:
    op.create_table(
        "workers",
        _key("key"), _label("worker"), _whole("started_ns", nullable=True), _label("started", nullable=True),
        _whole("beat_ns", nullable=True), _label("beat", nullable=True), _whole("seen_ns", nullable=True),
        _whole("stopped_ns", nullable=True), _label("stopped", nullable=True), _whole("lost_ns", nullable=True),
        _label("lost", nullable=True),
    )  # fmt: skip
    op.create_table(
        "degraded",
        _key("key"), _label("worker"), _label("part"), _whole("time_ns"), _label("id"), _label("document"),
    )  # fmt: skip
    op.create_table(
        "ledger_partitions",
        _key("key"), _label("stream"), _label("topic"), _whole("partition"), _whole("first_offset"),
        _whole("position"), _whole("batches"), _whole("records"), _whole("holes"), _whole("readings"),
        _whole("scored"), _whole("rejected"), _whole("skipped"), _whole("detections"), _whole("gaps"),
        _whole("missing"), _whole("repeated"), _whole("unbalanced"), _label("hash"), _label("pipeline_version"),
        _label("build"), _label("worker"), _whole("time_ns"),
    )  # fmt: skip
    op.create_table(
        "ledger_reasons",
        _key("key"), _label("stream"), _label("topic"), _whole("partition"), _label("outcome"), _label("reason"),
        _whole("count"),
    )  # fmt: skip
    op.create_table(
        "ledger_breaks",
        _key("id"), _label("topic"), _whole("partition"), _whole("time_ns"), _label("document"),
    )  # fmt: skip
    op.create_index("ledger_breaks_newest", "ledger_breaks", ["time_ns", "id"])


def _build_models() -> None:
    op.create_table(
        "models",
        _key("key"), _label("model"), _label("stream"), _label("algorithm"), _label("detector"), _whole("time_ns"),
        _label("document", nullable=True),
    )  # fmt: skip
    op.create_table(
        "model_versions",
        _key("key"), _label("model_key"), _label("model"), _whole("version"), _whole("time_ns"),
        _label("document"),
    )  # fmt: skip
    op.create_index("model_versions_model", "model_versions", ["model_key"])
    op.create_table(
        "model_aliases",
        _key("key"), _label("model_key"), _label("model"), _label("alias"), _whole("version"), _whole("time_ns"),
        _label("by"), _label("document"),
    )  # fmt: skip
    op.create_index("model_aliases_model", "model_aliases", ["model_key"])
    op.create_table(
        "model_history",
        _key("id"), _label("model_key"), _label("type"), _whole("time_ns"), _whole("log_offset"),
        _label("document"),
    )  # fmt: skip
    op.create_index("model_history_model", "model_history", ["model_key"])
