"""``oddtide config``: what is set, from where, whether it can be used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import rich_click as click

from oddtide.config.cli.context import Cli, pass_cli
from oddtide.config.cli.help import command, group
from oddtide.config.cli.output import emit, emit_one, note, to_json

__all__ = ["config"]

_HIDDEN = "**********"


@group("config", examples=[("oddtide config show", "every setting and where it came from")])
def config() -> None:
    """Settings: one TOML file, and over it variables ODDTIDE_<SECTION>__<KEY>."""


@command(
    "show",
    parent=config,
    output=True,
    examples=[
        ("oddtide config show", "every setting in force and where it came from; secrets hidden"),
        ("oddtide config show --changed", "only what is no default"),
        ("ODDTIDE_WORKER__MAX_BATCH=100 oddtide config show", "with a variable over the file"),
    ],
)
@click.option("--changed", is_flag=True, help="Only what differs from the defaults' file and code.")
@pass_cli
def show(cli: Cli, changed: bool) -> None:
    """Show every setting, its value, and where the value came from."""
    loaded = cli.loaded()
    values = _public(loaded.settings.model_dump())
    rows = [{"key": key, "value": value, "from": _origin(key, loaded.origins)} for key, value in _flat(values)]
    note(f"settings file: {loaded.file or 'none'}")
    emit([row for row in rows if not changed or row["from"] != "default"], output=cli.output, empty="all defaults")


@command(
    "validate",
    parent=config,
    output=True,
    examples=[
        ("oddtide config validate", "exit code 0, or 4 with what is wrong"),
        ("oddtide --config prod.toml config validate", "another file"),
    ],
)
@pass_cli
def validate(cli: Cli) -> None:
    """Check the settings wholly: keys, values, composition, and that every detector can be built."""
    loaded = cli.loaded()
    composition = cli.composition()
    plans = composition.plans()
    toolkit = composition.toolkit()
    for plan in plans:
        for spec in plan.detectors:
            toolkit.detector(spec, plan.contract.names)
    found = {
        "file": str(loaded.file) if loaded.file else None,
        "composition": loaded.settings.composition,
        "kafka": loaded.settings.bootstrap,
        "streams": [f"{plan.name} ({plan.topic}, {plan.profile}, {plan.version})" for plan in plans],
        "valid": True,
    }
    emit_one(found, output=cli.output)


@command("schema", parent=config, examples=[("oddtide config schema > oddtide.schema.json", "for an editor")])
def schema() -> None:
    """Print the JSON Schema of the settings file, with the meaning and unit of every key."""
    from oddtide.config.settings import Settings

    document = Settings.model_json_schema()
    click.echo(to_json({"$schema": "https://json-schema.org/draft/2020-12/schema", **document}, indent=True))


def _public(value: Any) -> Any:
    """Without secrets: those are hidden, the password inside a URL too."""
    from pydantic import SecretStr

    if isinstance(value, SecretStr):
        return _hide(value.get_secret_value())
    if isinstance(value, Mapping):
        return {key: _public(item) for key, item in value.items()}
    return [_public(item) for item in value] if isinstance(value, list) else value


def _hide(secret: str) -> str:
    scheme, separator, rest = secret.partition("://")
    if not separator:
        return _HIDDEN if secret else ""
    if scheme in ("http", "https"):  # a webhook's path is often its key
        return f"{scheme}://{rest.rpartition('@')[2].partition('/')[0].partition('?')[0]}/{_HIDDEN}"
    _, at, host = rest.rpartition("@")
    return f"{scheme}://{_HIDDEN}@{host.partition('?')[0]}" if at else f"{scheme}://{rest.partition('?')[0]}"


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _flat(item, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from _flat(item, f"{prefix}.{index}")
    else:
        yield prefix, str(value) if value is not None and not isinstance(value, (str, int, float)) else value


def _origin(key: str, origins: Mapping[str, str]) -> str:
    for path, origin in origins.items():
        if key == path or key.startswith(f"{path}.") or path.startswith(f"{key}."):
            return origin
    return "default"
