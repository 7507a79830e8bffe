"""The pages of the documentation that are written by the code: events, configuration, rejections.

``python -m tests.packaging.pages`` writes them, ``--check`` only says which are out of date.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson

from oddtide.config.settings import Settings
from oddtide.domain.events import Command, Message, catalogue
from oddtide.domain.quality.reasons import Reason
from oddtide.streams.schemas import READING_SCHEMA, json_schema
from oddtide.streams.topics import TopicCatalogue, TopicSpec
from tests.packaging.tree import ROOT

__all__ = ["PAGES", "outdated", "write"]

_NOTE = "<!-- Written by `make docs` from {source}. Changes belong there. -->\n\n"
_DAY_MS = 86_400_000


def events() -> str:
    """Every topic and every event on it."""
    topics = TopicCatalogue(streams=(("readings", "oddtide.readings", 4),)).all()
    parts = [
        _NOTE.format(source="oddtide/streams/topics.py and the events' declarations"),
        "# Topics and events\n\n",
        _EVENTS_PROSE,
        "## Topics\n\nNames as they are with the prefix `oddtide` and one stream called `readings`.\n\n",
        _table(
            ("topic", "key", "carries", "partitions", "kept"),
            [(f"`{t.name}`", t.key, _carries(t), str(t.partitions), _kept(t)) for t in topics],
        ),
        "\n",
        *(f"- `{t.name}`: {t.purpose}\n" for t in topics),
        "\n## Reading\n\n",
        f"{READING_SCHEMA['description']}\n\n",
        _fields(READING_SCHEMA, {}),
    ]
    for title, base in (("Events", False), ("Commands", True)):
        parts.append(f"\n## {title}\n")
        parts += [_message(kind, topics) for kind in catalogue().values() if issubclass(kind, Command) is base]
    return "".join(parts)


def configuration() -> str:
    """Every setting."""
    schema = Settings.model_json_schema()
    sections = _sections(schema, schema["$defs"])
    return "".join(
        [
            _NOTE.format(source="oddtide/config/settings.py and sections.py"),
            "# Configuration\n\n",
            _CONFIGURATION_PROSE,
            *(_section(path, title, body, schema["$defs"]) for path, title, body in sections),
        ]
    )


def rejections() -> str:
    """Every reason for which a reading is refused or left unscored."""
    return "".join(
        [
            _NOTE.format(source="oddtide/domain/quality/reasons.py"),
            "# Why a reading is refused\n\n",
            _REJECTIONS_PROSE,
            _table(("reason", "meaning"), [(f"`{reason.value}`", reason.meaning) for reason in Reason]),
        ]
    )


PAGES = {"docs/events.md": events, "docs/configuration.md": configuration, "docs/rejections.md": rejections}


def outdated(root: Path = ROOT) -> list[str]:
    """The pages that differ from what the code says now."""
    return [name for name, page in PAGES.items() if not (root / name).exists() or (root / name).read_text() != page()]


def write(root: Path = ROOT) -> None:
    """Write every page."""
    for name, page in PAGES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(page())


def main(arguments: list[str]) -> int:
    if arguments != ["--check"]:
        write()
        return 0
    stale = outdated()
    if stale:
        sys.stderr.write(f"out of date: {', '.join(stale)}; run `make docs`\n")
    return 1 if stale else 0


# ------------------------------------------------------------------------------------------------ events


def _message(kind: type[Message], topics: Iterable[TopicSpec]) -> str:
    schema = json_schema(kind)
    where = [f"`{topic.name}`" for topic in topics if kind in topic.carries]
    places = f"On {', '.join(where)}. " if where else "Not an event of its own on a topic. "
    head = f"\n### {kind.__name__}\n\n{_prose(kind.__doc__)}\n\n{places}Type `{kind.type_name()}`, schema version "
    return f"{head}{kind.schema_version}.\n\n{_fields(schema, schema.get('$defs', {}))}"


def _fields(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    required = set(schema.get("required", ()))
    rows = [
        (f"`{name}`", _type(field, definitions), "required" if name in required else _default(field), _meaning(field))
        for name, field in schema.get("properties", {}).items()
    ]
    if any(meaning for *_, meaning in rows):
        return _table(("field", "type", "default", "meaning"), rows)
    return _table(("field", "type", "default"), [row[:3] for row in rows])


def _carries(topic: TopicSpec) -> str:
    if topic.role == "verdicts":
        return "frames of [`Verdict`](#verdict)"
    links = [f"[`{kind.__name__}`](#{kind.__name__.lower()})" for kind in topic.carries]
    return ", ".join(links) or "[readings](#reading)"


def _kept(topic: TopicSpec) -> str:
    kept = int(topic.config.get("retention.ms", "-1"))
    return "for good" if kept < 0 else f"{kept // _DAY_MS} days"


# ------------------------------------------------------------------------------------------------ configuration


def _sections(
    schema: Mapping[str, Any], definitions: Mapping[str, Any], path: str = "", title: str = "The file"
) -> list[tuple[str, str, Mapping[str, Any]]]:
    """(dotted path, title, schema) of the section and of those inside it, in the order of the file."""
    found = [(path, title, schema)]
    for name, field in schema["properties"].items():
        inner, many = _inner(field, definitions)
        if inner is not None:
            below = f"{path}.{name}" if path else name
            found += _sections(inner, definitions, f"{below}[]" if many else below, f"`{below}`")
    return found


def _inner(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> tuple[Mapping[str, Any] | None, bool]:
    many = field.get("type") == "array"
    field = field["items"] if many else field
    for option in field.get("anyOf", field.get("allOf", [field])):
        if "$ref" in option:
            inner = definitions[option["$ref"].rpartition("/")[2]]
            return (inner, many) if "properties" in inner else (None, many)
    return None, many


def _section(path: str, title: str, schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    rows = []
    for name, field in schema["properties"].items():
        inner, many = _inner(field, definitions)
        kind = ("tables" if many else "section") if inner is not None else _type(field, definitions)
        default = "required" if name in schema.get("required", ()) else "" if inner is not None else _default(field)
        rows.append((f"`{name}`", kind + _limits(field), default, _meaning(field)))
    prose = "" if not path else f"{_prose(schema.get('description'))}\n\n"
    if path and "[]" not in path:
        variable = "ODDTIDE_" + path.upper().replace(".", "__") + "__"
        prose += f"In the environment: `{variable}<KEY>`.\n\n"
    return f"\n## {title}\n\n{prose}{_table(('key', 'type', 'default', 'meaning'), rows)}"


_LIMITS = {
    "minimum": "≥ {}", "exclusiveMinimum": "> {}", "maximum": "≤ {}", "exclusiveMaximum": "< {}",
}  # fmt: skip


def _limits(field: Mapping[str, Any]) -> str:
    for option in [field, *field.get("anyOf", ())]:
        limits = [text.format(_number(option[key])) for key, text in _LIMITS.items() if key in option]
        if limits:
            return f", {' and '.join(limits)}"
    return ""


def _number(value: float) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


# ------------------------------------------------------------------------------------------------ both


def _type(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        target = definitions.get(name, {})
        return _type(target, definitions) if "properties" not in target else f"{name}: {_shape(target, definitions)}"
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in field:
            return " or ".join(dict.fromkeys(_type(option, definitions) for option in field[choice]))
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    return _plain_type(field, definitions)


def _plain_type(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    kind = field.get("type", "anything")
    if isinstance(kind, list):
        return " or ".join(str(each) for each in kind)
    if kind == "array":
        return f"list of {_type(field.get('items', {}), definitions)}"
    if kind == "object" and isinstance(field.get("additionalProperties"), Mapping):
        return f"{_type(field['additionalProperties'], definitions)} by name"
    names = {"date-time": "time (RFC 3339)", "path": "path", "password": "secret"}
    return names.get(str(field.get("format", "")), str(kind))


def _shape(target: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    fields = (f"`{name}` ({_type(field, definitions)})" for name, field in target["properties"].items())
    return "{" + ", ".join(fields) + "}"


def _default(field: Mapping[str, Any]) -> str:
    if "default" not in field:
        return ""
    value = field["default"]
    return "none" if value is None else f"`{orjson.dumps(value).decode()}`"


def _meaning(field: Mapping[str, Any]) -> str:
    return _prose(field.get("description"))


def _prose(text: str | None) -> str:
    return " ".join((text or "").split()).replace("``", "`").replace(":class:", "").replace("|", "\\|")


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(cell.replace(chr(10), ' ') for cell in line)} |\n" for line in lines)


_EVENTS_PROSE = """\
Events are CloudEvents 1.0 in Kafka's binary mode: the metadata stands in the record's headers, the body is JSON. A
reader who needs only the facts can ignore the headers; one who needs to know who said it, when and because of what
reads them:

| header | meaning |
| --- | --- |
| `ce_id` | derived from what caused the event, so that a fact logged twice is recognisably one fact |
| `ce_type` | the event's type, for instance `oddtide.AnomalyDetected` |
| `ce_source` | application and worker that said it |
| `ce_time` | when, by its own clock where it has one (RFC 3339) |
| `ce_subject` | whom it is about: a series, an alert, a worker, a model |
| `ce_dataschema` | name and version of the schema: `urn:oddtide:schema:<name>:<version>` |
| `ce_correlationid`, `ce_causationid` | the conversation, and the event that caused this one |

The JSON Schemas come from `oddtide schemas show <type>` and `oddtide schemas export <folder>`, the latter with an
AsyncAPI 3 document. Within a version a schema only grows: ignore fields that you do not know.

"""

_CONFIGURATION_PROSE = """\
One TOML file, `oddtide.toml` in the working folder (or `--config FILE`, or `$ODDTIDE_CONFIG`), and over it the
environment: `ODDTIDE_<SECTION>__<KEY>` overrides one key, two underscores between the parts. Unknown keys are errors
that suggest the nearest name. `oddtide config show` prints every setting in force and where it came from, `oddtide
config validate` checks the whole, `oddtide config schema` prints the JSON Schema for an editor.

Without any file: the composition `basic`, an embedded Kafka, SQLite, and one stream `readings` of one feature `value`.

```toml
[[streams]]
name = "pumps"
features = [{ name = "pressure", minimum = 0.0 }, "flow"]
detectors = ["half_space_trees"]
publish = "all"

[streams.threshold]
p_value = 1e-4

[alerts]
quiet_s = 600
```

The same in the environment, for one key: `ODDTIDE_ALERTS__QUIET_S=600`.
"""

_REJECTIONS_PROSE = """\
No input is dropped in silence. A record, or a row of a batch, that does not become a reading goes to the dead letters
(`oddtide.deadletters`): the value is the input's own bytes, the key its key, the headers its headers, and beside them
`oddtide-rejection` holds the event [`ReadingRejected`](events.md#readingrejected) with the reason, a line for people
and where it came from. The ledger counts it under the same reason.

`oddtide deadletters list` shows them, `oddtide deadletters show` one of them with its bytes, and `oddtide deadletters
retry` sends them once more, after the cause is mended.

Where a stream's contract says `skip` instead of `reject`, a reading is not scored, counted under the same reason and
not dead-lettered. Two things are *not* errors, and documented because people ask: of duplicate keys in a JSON object
the last counts, and a batch loses only its bad rows, never the good ones.

"""

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
