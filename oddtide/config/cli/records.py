"""Records of a topic as people and programs want to see them: decoded, by what travels there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from oddtide.domain.errors import DecodeError, SchemaVersionError
from oddtide.domain.events import TYPE_PREFIX
from oddtide.streams.envelope import open_envelope
from oddtide.streams.topics import TopicCatalogue, TopicSpec

__all__ = ["decode", "describe_line", "resolve_topic"]

_SHOWN_BYTES = 400
_COORDINATES = ("topic", "partition", "offset", "key")


def resolve_topic(catalogue: TopicCatalogue, name: str) -> TopicSpec | None:
    """The declared topic that ``name`` means: a full name, a role (``detections``) or a stream's name; else None."""
    specs = catalogue.all()
    matches: tuple[Callable[[TopicSpec], bool], ...] = (
        lambda spec: spec.name == name,
        lambda spec: spec.stream == name and spec.role == "readings",
        lambda spec: spec.name == catalogue.name(name),
        lambda spec: spec.role == name,
    )
    return next((spec for match in matches for spec in specs if match(spec)), None)


def decode(record: Any, spec: TopicSpec | None) -> Iterator[dict[str, Any]]:
    """One row for each thing that a record holds: a frame of verdicts holds many.

    Every row begins with ``topic``, ``partition``, ``offset`` and ``timestamp``; what cannot be decoded is shown raw.
    """
    head = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "key": None if record.key is None else bytes(record.key).decode("utf-8", "backslashreplace"),
    }
    role = spec.role if spec is not None else ""
    if role == "verdicts":
        yield from _verdicts(record, head)
    elif role == "deadletters":
        yield {**head, **_rejection(record)}
    else:
        yield {**head, **(_event(record) or _raw(record))}


def _event(record: Any) -> dict[str, Any] | None:
    headers = list(record.headers)
    if not any(name == "ce_type" and bytes(value or b"").startswith(TYPE_PREFIX.encode()) for name, value in headers):
        return None
    try:
        envelope, event = open_envelope(record.value, headers)
    except (DecodeError, SchemaVersionError) as error:
        return {**_raw(record), "problem": str(error)}
    about = {"type": envelope.type, "event_id": envelope.id, "causation_id": envelope.causation or None}
    return {**about, **_body(msgspec.to_builtins(event))}


def _body(fields: dict[str, Any]) -> dict[str, Any]:
    """An event's own coordinates say where its cause stands; the record's say where the event does."""
    return {f"source_{name}" if name in _COORDINATES else name: value for name, value in fields.items()}


def _verdicts(record: Any, head: dict[str, Any]) -> Iterator[dict[str, Any]]:
    from oddtide.streams.pipeline.frames import expand_frame

    try:
        for verdict in expand_frame(record.value or b""):
            yield {**head, "type": "oddtide.Verdict", **_body(msgspec.to_builtins(verdict))}
    except DecodeError as error:
        yield {**head, **_raw(record), "problem": str(error)}


def _rejection(record: Any) -> dict[str, Any]:
    from oddtide.streams.results import REJECTION_HEADER

    header = dict(record.headers).get(REJECTION_HEADER)
    row: dict[str, Any] = {"type": "oddtide.ReadingRejected"}
    if header is not None:
        try:
            about = msgspec.json.decode(header)
        except msgspec.DecodeError:
            about = {}
        row |= _body(about) if isinstance(about, dict) else {}
    return {**row, **_raw(record)}


def _raw(record: Any) -> dict[str, Any]:
    if record.value is None:
        return {"value": None}
    value = bytes(record.value)
    try:
        return {"value": msgspec.json.decode(value)}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {"value": _text(value)}


def _text(value: bytes) -> str:
    text = value[:_SHOWN_BYTES].decode("utf-8", "backslashreplace")
    return text if len(value) <= _SHOWN_BYTES else f"{text}… ({len(value)} bytes)"


def describe_line(row: dict[str, Any]) -> str:
    """A row in one line for people."""
    kind = str(row.get("type", "")).removeprefix(TYPE_PREFIX)
    place = f"{row['partition']}:{row['offset']}"
    if not kind:
        return f"{place}  {row['key'] or '-'}  {_compact(row.get('value'))}"
    teller = _TELLERS.get(kind, _tell_any)
    return f"{place}  {row.get('time') or row.get('opened') or ''}  {kind}  {teller(row)}"


def _tell_verdict(row: dict[str, Any]) -> str:
    mark = "ANOMALY" if row["is_anomaly"] else "ok"
    reason = row.get("reason") or f"score {row['score']:.4g}, p {row['p_value']:.3g}"
    return f"{row['series']} = {row['value']}  {mark}: {reason}  [{row['id']}]"


def _tell_rejection(row: dict[str, Any]) -> str:
    source = f"{row.get('source_topic')}[{row.get('source_partition')}]@{row.get('source_offset')}"
    return f"{source}  {row.get('reason')}: {row.get('detail')}  {_compact(row.get('value'))}"


def _tell_batch(row: dict[str, Any]) -> str:
    rejected, skipped = sum(row["rejected"].values()), sum(row["skipped"].values())
    return (
        f"{row['from']}..{row['to']}: {row['readings']} readings, {row['scored']} scored, {rejected} rejected, "
        f"{skipped} skipped, {row['detections']} detections{_tell_controls(row['controls'])}"
    )


def _tell_controls(controls: list[dict[str, Any]]) -> str:
    """What took effect with a batch's first offset: it alters verdicts, so people look for it."""
    told = [f"{each['kind']} {_subject(each)}" for each in controls]
    return f"; in force from here: {', '.join(told)}" if told else ""


def _subject(control: dict[str, Any]) -> str:
    if control["kind"] == "planned_work":
        return f"{control['cancelled']} cancelled" if control["cancelled"] else str(control["work"]["id"])
    if control["kind"] == "time_advanced":
        return f"to {control['time']}"
    if control["kind"] == "model":
        return f"{control['model']} {control['version']}"
    return str(control["pipeline"] or control["series"])


def _tell_alert(row: dict[str, Any]) -> str:
    return f"{row['alert']}  {row['severity']}  {row['series']}: {row['summary']} ({row['count']} causes)"


def _tell_absence(row: dict[str, Any]) -> str:
    return f"{row['series']}  ABSENT: {row['reason']}"


def _tell_return(row: dict[str, Any]) -> str:
    return f"{row['series']}  is back after {row['silent_s']:.6g} s"


def _tell_any(row: dict[str, Any]) -> str:
    hidden = {"topic", "partition", "offset", "timestamp", "key", "type", "event_id", "causation_id", "time", "id"}
    return "  ".join(f"{name}={_compact(value)}" for name, value in row.items() if name not in hidden and value)


def _compact(value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return " ".join(text.split())


_TELLERS: dict[str, Callable[[dict[str, Any]], str]] = {
    "AnomalyDetected": _tell_verdict,
    "AbsenceDetected": _tell_absence,
    "SeriesReturned": _tell_return,
    "Verdict": _tell_verdict,
    "ReadingRejected": _tell_rejection,
    "BatchCompleted": _tell_batch,
    "AlertOpened": _tell_alert,
    "AlertUpdated": _tell_alert,
    "AlertWithheld": _tell_alert,
}
