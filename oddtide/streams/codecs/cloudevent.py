"""CloudEvents 1.0 on Kafka, as input: binary mode (attributes in ``ce_*`` headers) and structured mode (one JSON
object with ``specversion``).

Taken are the types ``oddtide.Reading`` and ``oddtide.Readings`` with data in JSON or Arrow IPC; either may carry one
reading or a batch. ``subject`` stands in for a missing series, ``time`` for a missing time; ``id`` and ``source`` are
not looked at. Without CloudEvent attributes the value is a bare reading or batch.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from oddtide.domain.quality.reasons import Reason
from oddtide.streams.codecs.decoded import RecordLike
from oddtide.streams.codecs.json_reading import Origin, parse_json
from oddtide.streams.codecs.refusing import refusal, show

__all__ = ["TYPES", "Payload", "open_record"]

TYPES: Final = frozenset({"oddtide.Reading", "oddtide.Readings"})

_STRUCTURED = "application/cloudevents+json"
_JSON = frozenset({"application/json", "text/json", _STRUCTURED})
_ARROW = frozenset({"application/vnd.apache.arrow.stream", "application/vnd.apache.arrow.file"})
#: Content types that say nothing, so that the bytes decide.
_OPAQUE = frozenset({"", "application/octet-stream", "text/plain"})
_MAGIC = (b"\xff\xff\xff\xff", b"ARROW1")


class Payload(NamedTuple):
    """What a record carries: Arrow IPC bytes, or else a JSON document; and what surrounds it."""

    origin: Origin
    document: object = None
    arrow: bytes | None = None


def open_record(record: RecordLike) -> Payload:
    """Unwrap one record. Raises ``DecodeError``."""
    if record.value is None:
        raise refusal(Reason.NULL_VALUE, "the record has no value (a tombstone)")
    value = bytes(record.value)
    if not value:
        raise refusal(Reason.EMPTY, "the value has no bytes")
    headers = _attributes(record.headers)
    kind = _content_type(headers.get("content-type", ""))
    origin = Origin(key=record.key)
    if kind != _STRUCTURED and ("ce_specversion" in headers or "ce_type" in headers):
        _check(headers.get("ce_specversion"), headers.get("ce_type"))
        origin = Origin(record.key, headers.get("ce_subject"), headers.get("ce_time"))
        return _content(value, kind, origin)
    payload = _content(value, kind, origin)
    document = payload.document
    if kind == _STRUCTURED or (isinstance(document, dict) and "specversion" in document):
        return _structured(document, origin)
    return payload


def _attributes(headers: Sequence[tuple[str, bytes]] | None) -> Mapping[str, str]:
    """The headers that mean something here; of one name the last wins. Foreign headers may hold any bytes."""
    found = {}
    for name, raw in headers or ():
        plain = name.lower()
        if raw is not None and (plain == "content-type" or plain.startswith("ce_")):
            try:
                found[plain] = bytes(raw).decode()
            except UnicodeDecodeError:
                raise refusal(Reason.WRONG_ENCODING, f"header {show(plain)} is not UTF-8") from None
    return found


def _content_type(text: str) -> str:
    """The media type alone, in lower case."""
    kind, _, parameters = text.partition(";")
    name, _, charset = parameters.strip().lower().partition("=")
    if name == "charset" and charset.strip("\"' ") not in {"utf-8", "utf8", "us-ascii"}:
        raise refusal(Reason.WRONG_ENCODING, f"content type {show(text)}; send UTF-8")
    return kind.strip().lower()


def _check(version: object, kind: object) -> None:
    if version != "1.0":
        raise refusal(Reason.UNSUPPORTED_SPECVERSION, f"specversion is {show(version)}; send 1.0")
    if not isinstance(kind, str) or kind not in TYPES:
        raise refusal(Reason.UNKNOWN_EVENT_TYPE, f"type is {show(kind)}; send {' or '.join(sorted(TYPES))}")


def _content(value: bytes, kind: str, origin: Origin) -> Payload:
    if kind in _ARROW or (kind in _OPAQUE and value.startswith(_MAGIC)):
        return Payload(origin, arrow=value)
    if kind in _JSON or kind in _OPAQUE or kind.endswith("+json"):
        return Payload(origin, document=parse_json(value))
    raise refusal(Reason.UNKNOWN_CONTENT_TYPE, f"content type {show(kind)} is neither JSON nor Arrow IPC")


def _structured(document: object, origin: Origin) -> Payload:
    if not isinstance(document, dict):
        raise refusal(Reason.NOT_AN_OBJECT, f"a CloudEvent is an object, this is {show(document)}")
    _check(document.get("specversion"), document.get("type"))
    subject, kind = document.get("subject"), document.get("datacontenttype") or ""
    inner = Origin(origin.key, subject if isinstance(subject, str) else None, document.get("time"))
    if not isinstance(kind, str):
        raise refusal(Reason.UNKNOWN_CONTENT_TYPE, f"datacontenttype is {show(kind)}")
    media, packed = _content_type(kind), document.get("data_base64")
    if packed is not None:
        return _content(_unpack(packed), media, inner)
    if media not in _OPAQUE and media not in _JSON and not media.endswith("+json"):
        raise refusal(Reason.UNKNOWN_CONTENT_TYPE, f"datacontenttype {show(kind)} needs data_base64, or is unknown")
    return Payload(inner, document=document.get("data"))


def _unpack(packed: object) -> bytes:
    try:
        if not isinstance(packed, str):
            raise TypeError
        return base64.b64decode(packed, validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise refusal(Reason.NOT_JSON, f"data_base64 {show(packed)} is not base64") from None
