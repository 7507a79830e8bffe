"""The envelope: what is sealed can be opened, what is foreign is refused with a reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oddtide.domain.errors import DecodeError, SchemaVersionError
from oddtide.domain.observability.events import AlertAcknowledged
from oddtide.streams.envelope import derive_id, open_envelope, seal

EVENT = AlertAcknowledged(alert="a1", by="ann", time="2026-01-01T00:00:00Z", note="seen")


def test_what_is_sealed_can_be_opened() -> None:
    value, headers = seal(EVENT, id="7", source="/app/w", time="t", subject="a1", correlation="c", causation="d")
    envelope, event = open_envelope(value, headers)
    assert event == EVENT
    assert (envelope.id, envelope.source, envelope.subject) == ("7", "/app/w", "a1")
    assert (envelope.correlation, envelope.causation, envelope.schema_version) == ("c", "d", 1)


def test_unknown_fields_are_ignored_because_schemas_grow() -> None:
    _, headers = seal(EVENT, id="7", source="s")
    _, event = open_envelope(b'{"alert":"a1","by":"ann","time":"2026-01-01T00:00:00Z","note":"seen","new":1}', headers)
    assert event == EVENT


@pytest.mark.parametrize(
    ("headers", "value", "reason"),
    [
        ([], b"{}", "unknown_type"),
        ([("ce_type", b"com.example.Other")], b"{}", "unknown_type"),
        ([("ce_type", b"oddtide.AlertAcknowledged")], b"{}", "wrong_shape"),
        ([("ce_type", b"oddtide.AlertAcknowledged")], None, "wrong_shape"),
        ([("ce_type", b"oddtide.AlertAcknowledged"), ("ce_dataschema", b"urn:x")], b"{}", "wrong_shape"),
        ([("ce_type", b"\xff\xfe")], b"{}", "unknown_type"),
    ],
)
def test_what_is_no_event_of_ours_is_refused(
    headers: list[tuple[str, bytes]], value: bytes | None, reason: str
) -> None:
    with pytest.raises(DecodeError) as caught:
        open_envelope(value, headers)
    assert caught.value.reason == reason


def test_a_newer_schema_version_stops_the_reader() -> None:
    value, headers = seal(EVENT, id="7", source="s")
    newer = [(name, raw.replace(b":1", b":2") if name == "ce_dataschema" else raw) for name, raw in headers]
    with pytest.raises(SchemaVersionError, match=r"version 2; this build knows 1.*Upgrade"):
        open_envelope(value, newer)


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_derived_ids_differ_where_their_parts_do(one: list[str], other: list[str]) -> None:
    assert (derive_id(*one) == derive_id(*other)) == (one == other)
