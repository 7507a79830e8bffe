"""``oddtide schemas``: what travels on the topics, for programs that read them."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from oddtide.config.cli.context import Cli, pass_cli
from oddtide.config.cli.help import command, group
from oddtide.config.cli.output import emit, note, to_json

__all__ = ["schemas"]


@group("schemas", examples=[("oddtide schemas export build/schemas", "every JSON Schema and asyncapi.json")])
def schemas() -> None:
    """JSON Schemas of every event, and the AsyncAPI document of every topic."""


@command("list", parent=schemas, output=True, examples=[("oddtide schemas list", "every type and where it travels")])
@pass_cli
def list_(cli: Cli) -> None:
    """List every event and command type with its topics."""
    from oddtide.domain.events import Command, catalogue
    from oddtide.streams.schemas import READING_SCHEMA

    specs = cli.composition().catalogue().all()
    reading = [spec.name for spec in specs if spec.role == "readings"]
    rows = [{"type": "Reading", "version": 1, "kind": "input", "topics": reading, "about": READING_SCHEMA["title"]}]
    rows[0]["about"] = "One reading from a producer."
    rows += [
        {
            "type": name,
            "version": kind.schema_version,
            "kind": "command" if issubclass(kind, Command) else "event",
            "topics": [spec.name for spec in specs if kind in spec.carries],
            "about": " ".join((kind.__doc__ or "").split()).partition(". ")[0].rstrip(".") + ".",
        }
        for name, kind in catalogue().items()
    ]
    emit(rows, output=cli.output, columns=["type", "version", "kind", "topics"])


@command(
    "show",
    parent=schemas,
    examples=[
        ("oddtide schemas show AnomalyDetected", "the JSON Schema of one event"),
        ("oddtide schemas show reading", "what a producer may send"),
        ("oddtide schemas show asyncapi", "the AsyncAPI 3 document"),
    ],
)
@click.argument("name")
@pass_cli
def show(cli: Cli, name: str) -> None:
    """Print the schema of NAME: an event type, `reading`, or `asyncapi`."""
    from oddtide.streams.schemas import READING_SCHEMA, asyncapi, find_type, json_schema

    if name.lower() == "reading":
        document = READING_SCHEMA
    elif name.lower() == "asyncapi":
        document = asyncapi(cli.composition().catalogue(), version=_version())
    else:
        document = json_schema(find_type(name))
    click.echo(to_json(document, indent=True))


@command("export", parent=schemas, examples=[("oddtide schemas export build/schemas", "one file per type")])
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@pass_cli
def export(cli: Cli, folder: Path) -> None:
    """Write every JSON Schema and asyncapi.json into FOLDER."""
    from oddtide.streams.schemas import export as export_all

    for path in export_all(folder, cli.composition().catalogue(), version=_version()):
        click.echo(path)
    note(f"written to {folder}")


def _version() -> str:
    import oddtide

    return oddtide.__version__
