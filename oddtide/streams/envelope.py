"""The envelope: the metadata around an event, as CloudEvents 1.0 in binary mode (headers) over Kafka.

The body is the event's JSON. Ids are derived from what caused the event, never random, so that a fact
logged twice is recognisably the same fact.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import msgspec

from oddtide.domain.errors import DecodeError, SchemaVersionError
from oddtide.domain.events import TYPE_PREFIX, Message, catalogue

__all__ = ["Envelope", "Headers", "derive_id", "open_envelope", "seal"]

#: Kafka record headers.
Headers: TypeAlias = list[tuple[str, bytes]]

_ENCODER = msgspec.json.Encoder()
_SCHEMA = "urn:oddtide:schema:{name}:{version}"


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who said it, about what, when, and because of what."""

    id: str
    type: str
    source: str
    time: str = ""
    subject: str = ""
    schema_version: int = 1
    correlation: str = ""
    causation: str = ""


def derive_id(*parts: object) -> str:
    """An id that is a function of ``parts``: 32 hex digits of BLAKE2b over their unambiguous join."""
    texts = [str(part).encode("utf-8", "surrogatepass") for part in parts]
    joined = b"".join(b"%d:%b" % (len(text), text) for text in texts)
    return hashlib.blake2b(joined, digest_size=16).hexdigest()


def seal(
    event: Message,
    *,
    id: str,
    source: str,
    time: str = "",
    subject: str = "",
    correlation: str = "",
    causation: str = "",
) -> tuple[bytes, Headers]:
    """An event as the value and headers of a Kafka record."""
    kind = type(event)
    fields = {
        "ce_specversion": "1.0",
        "ce_id": id,
        "ce_type": kind.type_name(),
        "ce_source": source,
        "ce_time": time,
        "ce_subject": subject,
        "ce_dataschema": _SCHEMA.format(name=kind.__name__, version=kind.schema_version),
        "ce_correlationid": correlation,
        "ce_causationid": causation,
        "content-type": "application/json",
    }
    return _ENCODER.encode(event), [(name, text.encode()) for name, text in fields.items() if text]


def open_envelope(value: bytes | None, headers: Iterable[tuple[str, bytes | None]]) -> tuple[Envelope, Message]:
    """The inverse of :func:`seal`. Unknown fields are ignored: schemas grow.

    Raises ``DecodeError`` for what is no event of ours and ``SchemaVersionError`` for one of a newer version.
    """
    texts = {name: bytes(raw).decode("utf-8", "replace") for name, raw in headers if raw is not None}
    type_name = texts.get("ce_type", "")
    kind = catalogue().get(type_name)
    if kind is None:
        raise DecodeError("unknown_type", f"event type {type_name!r} is none of {TYPE_PREFIX}*")
    version = _version(texts.get("ce_dataschema", ""), type_name)
    if version > kind.schema_version:
        raise SchemaVersionError(
            f"{type_name} has schema version {version}; this build knows {kind.schema_version}.",
            remedy="Upgrade oddtide on this machine.",
        )
    try:
        event = msgspec.json.decode(value or b"", type=kind)
    except msgspec.MsgspecError as error:
        raise DecodeError("wrong_shape", f"{type_name}: {error}") from None
    return (
        Envelope(
            id=texts.get("ce_id", ""),
            type=type_name,
            source=texts.get("ce_source", ""),
            time=texts.get("ce_time", ""),
            subject=texts.get("ce_subject", ""),
            schema_version=version,
            correlation=texts.get("ce_correlationid", ""),
            causation=texts.get("ce_causationid", ""),
        ),
        event,
    )


def _version(dataschema: str, type_name: str) -> int:
    tail = dataschema.rpartition(":")[2]
    if not dataschema:
        return 1
    if not tail.isdigit():
        raise DecodeError("wrong_shape", f"{type_name}: dataschema {dataschema!r} does not end in a version")
    return int(tail)
