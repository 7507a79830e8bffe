from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from oddtide.domain.errors import NotFoundError
from oddtide.domain.events import catalogue
from oddtide.streams.schemas import READING_SCHEMA, asyncapi, export, find_type, json_schema
from oddtide.streams.topics import TopicCatalogue

TOPICS = TopicCatalogue(streams=(("pumps", "plant.pumps", 2), ("fans", "p.fans", 1)), prefix="p")


def references(document: Any) -> set[str]:
    if isinstance(document, dict):
        own = {document["$ref"]} if isinstance(document.get("$ref"), str) else set()
        return own.union(*(references(value) for value in document.values()))
    return set().union(*map(references, document)) if isinstance(document, list) else set()


def resolve(document: Any, pointer: str) -> Any:
    for part in pointer.removeprefix("#/").split("/"):
        document = document[part]
    return document


@pytest.mark.parametrize("name", sorted(catalogue()))
def test_every_event_has_a_schema_that_stands_alone(name: str) -> None:
    kind = catalogue()[name]
    schema = json_schema(kind)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"urn:oddtide:schema:{kind.__name__}:{kind.schema_version}"
    assert schema["title"] == kind.__name__
    assert schema["type"] == "object"
    assert schema["description"]
    assert "\n" not in schema["description"]
    assert schema.get("additionalProperties", True) is not False
    for pointer in references(schema):
        assert resolve(schema, pointer)


def test_fields_have_their_names_on_the_wire() -> None:
    assert {"from", "to"} <= set(json_schema(find_type("BatchCompleted"))["properties"])


def test_types_are_found_by_name() -> None:
    assert find_type("oddtide.AlertOpened") is find_type("alertopened")
    with pytest.raises(NotFoundError, match="schemas list"):
        find_type("AlertOpen")


def test_the_asyncapi_document_names_every_topic_and_message() -> None:
    document = asyncapi(TOPICS, version="1.2.3")
    assert document["asyncapi"] == "3.0.0"
    assert document["info"]["version"] == "1.2.3"
    assert {channel["address"] for channel in document["channels"].values()} == {spec.name for spec in TOPICS.all()}
    assert set(document["channels"]["alerts"]["messages"]) >= {"AlertOpened", "CommandRefused"}
    assert document["channels"]["readings-pumps"]["bindings"]["kafka"]["partitions"] == 2
    for pointer in references(document):
        assert resolve(document, pointer) is not None


def test_the_asyncapi_document_says_who_sends_what() -> None:
    actions = {name: operation["action"] for name, operation in asyncapi(TOPICS)["operations"].items()}
    assert actions["receive-readings-pumps"] == "receive"
    assert actions["receive-commands"] == "receive"
    assert actions["receive-feedback"] == "receive"
    assert actions["send-detections"] == "send"


def test_the_reading_schema_wants_a_value_or_features() -> None:
    assert READING_SCHEMA["oneOf"] == [{"required": ["value"]}, {"required": ["features"]}]


def test_export_writes_the_same_bytes_each_time(tmp_path: Path) -> None:
    one, two = export(tmp_path / "a" / "b", TOPICS), export(tmp_path / "c", TOPICS)
    assert [path.name for path in one] == [path.name for path in two]
    assert {"Reading.v1.json", "asyncapi.json", "AnomalyDetected.v1.json"} <= {path.name for path in one}
    for left, right in zip(one, two, strict=True):
        assert left.read_bytes() == right.read_bytes()
        assert json.loads(left.read_bytes())
