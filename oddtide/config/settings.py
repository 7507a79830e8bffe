"""Settings: one TOML file, over it the environment, under both the composition's own choices.

``oddtide.toml`` in the working folder (or ``--config``, or ``$ODDTIDE_CONFIG``); a variable
``ODDTIDE_<SECTION>__<KEY>`` overrides a key of the file. Unknown keys are errors that suggest the nearest name.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError

from oddtide.config import basic, custom, enterprise
from oddtide.config.complaints import complain, unknown_variables
from oddtide.config.sections import (
    ArtifactSettings,
    DayAlertSettings,
    EmbeddedSettings,
    KafkaSettings,
    LogSettings,
    SnapshotSettings,
    StorageSettings,
    WebhookSettings,
    WorkerSettings,
)
from oddtide.config.stream_settings import StreamSettings
from oddtide.domain.errors import ConfigurationError

__all__ = ["DEFAULT_FILE", "Loaded", "Settings", "load"]

DEFAULT_FILE = "oddtide.toml"
_COMPOSITIONS = {"basic": basic, "enterprise": enterprise, "custom": custom}


class Settings(BaseSettings):
    """Everything that can be set. Made by :func:`load`; made directly, it reads neither file nor environment."""

    model_config = SettingsConfigDict(
        env_prefix="ODDTIDE_", env_nested_delimiter="__", extra="forbid", frozen=True, validate_default=True
    )

    composition: Literal["basic", "enterprise", "custom"] = Field(
        default="basic",
        description="basic: one machine, embedded Kafka, SQLite. enterprise: your own Kafka with TLS or SASL and "
        "PostgreSQL, and nothing less. custom: as this file says, unchecked.",
    )
    application: str = Field(
        default="oddtide",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$",
        description="Name of this installation: consumer groups, transactions and ids of verdicts begin with it.",
    )
    data_folder: Path = Field(
        default=Path(".oddtide"),
        description="Folder for everything kept on this machine; relative to the settings file.",
    )
    prefix: str = Field(
        default="oddtide",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$",
        description="What the names of our topics begin with.",
    )
    kafka: KafkaSettings = Field(default_factory=KafkaSettings, description="The cluster.")
    embedded: EmbeddedSettings = Field(default_factory=EmbeddedSettings, description="The embedded Kafka.")
    storage: StorageSettings = Field(default_factory=StorageSettings, description="Read models.")
    worker: WorkerSettings = Field(default_factory=WorkerSettings, description="Workers.")
    alerts: DayAlertSettings = Field(default_factory=DayAlertSettings, description="Alerts.")
    notifications: list[WebhookSettings] = Field(default_factory=list, description="Receivers of notifications.")
    artifacts: ArtifactSettings = Field(default_factory=ArtifactSettings, description="Trained models.")
    snapshots: SnapshotSettings = Field(default_factory=SnapshotSettings, description="Snapshots of state.")
    log: LogSettings = Field(default_factory=LogSettings, description="Log lines.")
    streams: list[StreamSettings] = Field(
        default_factory=lambda: [StreamSettings()], min_length=1, description="The streams of readings."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is passed in: :func:`load` reads file and environment itself, to know what came from where."""
        return (init_settings,)

    @model_validator(mode="after")
    def _distinct_streams(self) -> Settings:
        names = [stream.name for stream in self.streams]
        topics = [stream.topic_for(self.prefix) for stream in self.streams]
        for every, what in ((names, "stream"), (topics, "readings topic")):
            for name in every:
                if every.count(name) > 1:
                    raise ValueError(f"the {what} {name!r} is declared twice; give each stream its own")
        return self

    @property
    def embedded_kafka(self) -> bool:
        """Whether the cluster is the one that ``oddtide up`` starts."""
        return self.kafka.bootstrap == "embedded"

    @property
    def bootstrap(self) -> str:
        """The brokers' addresses, also for the embedded one."""
        return f"127.0.0.1:{self.embedded.port}" if self.embedded_kafka else self.kafka.bootstrap

    @property
    def storage_url(self) -> str:
        """The read models' URL, also where it was left to the data folder."""
        return self.storage.url.get_secret_value() or f"sqlite:///{self.data_folder / 'oddtide.db'}"

    @property
    def artifact_folder(self) -> Path:
        """Where artifacts lie."""
        return self.artifacts.folder or self.data_folder / "artifacts"


@dataclass(frozen=True)
class Loaded:
    """Settings and where they came from. ``origins`` has the dotted path of every value that is no default."""

    settings: Settings
    file: Path | None = None
    origins: Mapping[str, str] = field(default_factory=dict)


def load(path: Path | None = None, *, folder: Path | None = None) -> Loaded:
    """Read the settings.

    ``path`` is the file; without one ``$ODDTIDE_CONFIG``, then ``oddtide.toml`` in ``folder`` (default: the working
    folder), then none at all. Raises ``ConfigurationError`` with the key, its value and where it stands.
    """
    base = folder or Path.cwd()
    file = _find(path, base)
    written = _read(file) if file else {}
    environment = _environment()
    origins = dict(_paths(written, str(file))) | dict(_paths(environment, "environment"))
    name = environment.get("composition", written.get("composition", "basic"))
    composition = _COMPOSITIONS.get(name) if isinstance(name, str) else None
    defaults = composition.defaults() if composition else {}
    values = _merge(_merge(defaults, written), environment)
    try:
        settings = Settings(**values)
    except ValidationError as error:
        raise complain(Settings, error, origins) from None
    settings = _absolute(settings, base if "data_folder" in environment or file is None else file.parent)
    if composition:
        composition.check(settings.kafka, settings.storage, settings.artifacts)
    return Loaded(settings, file, {**{key: str(name) for key, _ in _paths(defaults, "")}, **origins})


def _find(path: Path | None, folder: Path) -> Path | None:
    chosen = path or (Path(os.environ["ODDTIDE_CONFIG"]) if os.environ.get("ODDTIDE_CONFIG") else None)
    if chosen is None:
        default = folder / DEFAULT_FILE
        return default if default.is_file() else None
    if not chosen.is_file():
        raise ConfigurationError(
            f"There is no settings file {str(chosen)!r}.", remedy="Check --config and $ODDTIDE_CONFIG."
        )
    return chosen


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} is not valid TOML: {error}.", remedy="Correct that line.") from None
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}.", remedy="Check its permissions.") from None


def _environment() -> dict[str, Any]:
    unknown_variables(Settings, os.environ)
    try:
        return EnvSettingsSource(Settings)()
    except SettingsError as error:
        raise ConfigurationError(
            f"The environment cannot be read: {error}.", remedy="Lists are written as JSON."
        ) from None


def _absolute(settings: Settings, base: Path) -> Settings:
    folder = (base / settings.data_folder.expanduser()).absolute()
    return settings.model_copy(update={"data_folder": folder})


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        known = merged.get(key)
        merged[key] = _merge(known, value) if isinstance(known, Mapping) and isinstance(value, Mapping) else value
    return merged


def _paths(values: Any, origin: str, prefix: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(values, Mapping):
        items = [(str(key), value) for key, value in values.items()]
    elif isinstance(values, list):
        items = [(str(index), value) for index, value in enumerate(values)]
    else:
        yield prefix, origin
        return
    for key, value in items:
        yield from _paths(value, origin, f"{prefix}.{key}" if prefix else key)
