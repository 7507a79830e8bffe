"""Schemas, generated from the declarations: JSON Schema 2020-12 of every event, AsyncAPI 3 of every topic.

Importing this module completes the catalogue of events. Output is deterministic: the same build writes the same
bytes, so that a comparison with the released schemas shows real changes only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import orjson

from oddtide.domain.errors import NotFoundError
from oddtide.domain.events import TYPE_PREFIX, Command, Message, catalogue
from oddtide.streams.topics import TopicCatalogue, TopicSpec

__all__ = ["READING_SCHEMA", "asyncapi", "export", "find_type", "json_schema"]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_NUMBER_OR_NULL = {"type": ["number", "null"]}

#: What a producer may send as a bare JSON reading: one value or named features, never both.
READING_SCHEMA: dict[str, Any] = {
    "$schema": _DIALECT,
    "$id": "urn:oddtide:schema:Reading:1",
    "title": "Reading",
    "description": "One reading, as a bare JSON record or as the data of a CloudEvent. The series may also be the "
    "record's key, the time the CloudEvent's. A record may hold many readings: see the documentation of batches.",
    "type": "object",
    "properties": {
        "series": {"type": "string", "minLength": 1, "description": "Key of the series."},
        "time": {
            "type": ["string", "number"],
            "description": "RFC 3339, or seconds, ms, µs or ns since 1970 UTC.",
        },
        "value": {**_NUMBER_OR_NULL, "description": "The value, where the stream has one feature."},
        "features": {
            "type": "object",
            "additionalProperties": _NUMBER_OR_NULL,
            "description": "Values by feature name; null: missing.",
        },
        "labels": {"type": "object", "additionalProperties": {"type": "string"}, "description": "Free text by name."},
    },
    "oneOf": [{"required": ["value"]}, {"required": ["features"]}],
}


def find_type(name: str) -> type[Message]:
    """The event or command of this name, with or without the prefix ``oddtide.``, in any case."""
    wanted = name.lower().removeprefix(TYPE_PREFIX)
    for type_name, kind in catalogue().items():
        if type_name.lower().removeprefix(TYPE_PREFIX) == wanted:
            return kind
    raise NotFoundError(f"There is no event type {name!r}.", remedy="`oddtide schemas list` shows all of them.")


def json_schema(kind: type[Message]) -> dict[str, Any]:
    """The JSON Schema of an event's body. Unknown fields are allowed: schemas grow."""
    schema = msgspec.json.schema(kind)
    definitions = dict(schema.pop("$defs"))
    own = definitions.pop(schema["$ref"].rpartition("/")[2])
    head = {"$schema": _DIALECT, "$id": f"urn:oddtide:schema:{kind.__name__}:{kind.schema_version}"}
    return {**head, **_tidy(own), **({"$defs": _tidy(definitions)} if definitions else {})}


def asyncapi(topics: TopicCatalogue, *, version: str = "0") -> dict[str, Any]:
    """The AsyncAPI 3 document of one application's topics. ``version`` is that of the build."""
    specs = topics.all()
    kinds = sorted({kind for spec in specs for kind in spec.carries}, key=lambda kind: kind.__name__)
    _, schemas = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "oddtide",
            "version": version,
            "description": "Anomaly detection on streams: readings in, events out. Events are CloudEvents 1.0 in "
            "binary mode: metadata in Kafka headers (ce_*), the body in JSON.",
        },
        "defaultContentType": "application/json",
        "channels": {_channel_id(spec): _channel(spec) for spec in specs},
        "operations": dict(operation for spec in specs for operation in _operations(spec)),
        "components": {
            "messages": {"Reading": _reading_message(), **{kind.__name__: _message(kind) for kind in kinds}},
            "messageTraits": {"cloudEvent": _cloud_event()},
            "schemas": {"Reading": _without(READING_SCHEMA, "$schema", "$id"), **_tidy(schemas)},
        },
    }


def export(folder: Path, topics: TopicCatalogue, *, version: str = "0") -> list[Path]:
    """Write one file per event, ``Reading.v1.json`` and ``asyncapi.json`` into ``folder``; returns what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    documents = {f"{kind.__name__}.v{kind.schema_version}.json": json_schema(kind) for kind in catalogue().values()}
    documents["Reading.v1.json"] = READING_SCHEMA
    documents["asyncapi.json"] = asyncapi(topics, version=version)
    written = []
    for name, document in sorted(documents.items()):
        path = folder / name
        path.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
        written.append(path)
    return written


def _channel_id(spec: TopicSpec) -> str:
    return spec.role if not spec.stream else f"{spec.role}-{spec.stream}"


def _channel(spec: TopicSpec) -> dict[str, Any]:
    names = ["Reading"] if spec.role == "readings" else [kind.__name__ for kind in spec.carries]
    return {
        "address": spec.name,
        "description": f"{spec.purpose} (key: {spec.key})",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
        "bindings": {"kafka": {"topic": spec.name, "partitions": spec.partitions, "bindingVersion": "0.5.0"}},
    }


def _operations(spec: TopicSpec) -> list[tuple[str, dict[str, Any]]]:
    """What the application does with a topic: receive what others say, send what it found."""
    channel = _channel_id(spec)
    takes = spec.role in ("readings", "feedback") or any(issubclass(kind, Command) for kind in spec.carries)
    action = "receive" if takes else "send"
    return [(f"{action}-{channel}", {"action": action, "channel": {"$ref": f"#/channels/{channel}"}})]


def _message(kind: type[Message]) -> dict[str, Any]:
    return {
        "name": kind.type_name(),
        "title": kind.__name__,
        "summary": (kind.__doc__ or "").strip().partition("\n")[0],
        "contentType": "application/json",
        "traits": [{"$ref": "#/components/messageTraits/cloudEvent"}],
        "payload": {"$ref": f"#/components/schemas/{kind.__name__}"},
    }


def _reading_message() -> dict[str, Any]:
    return {
        "name": "Reading",
        "title": "Reading",
        "summary": "One reading from a producer.",
        "contentType": "application/json",
        "payload": {"$ref": "#/components/schemas/Reading"},
    }


def _cloud_event() -> dict[str, Any]:
    texts = ("ce_id", "ce_type", "ce_source", "ce_time", "ce_subject", "ce_dataschema", "ce_causationid")
    properties: dict[str, Any] = {"ce_specversion": {"const": "1.0"}, **{name: {"type": "string"} for name in texts}}
    required = ["ce_specversion", "ce_id", "ce_type", "ce_source"]
    return {"headers": {"type": "object", "properties": properties, "required": required}}


def _without(schema: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key not in keys}


def _tidy(schema: Any) -> Any:
    """Docstrings without the indentation of the source."""
    if isinstance(schema, dict):
        return {
            key: " ".join(value.split()) if key == "description" and isinstance(value, str) else _tidy(value)
            for key, value in schema.items()
        }
    return [_tidy(item) for item in schema] if isinstance(schema, list) else schema
