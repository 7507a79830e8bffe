"""Published pipelines against the settings: what is in force, what differs, and publishing the difference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oddtide.domain.errors import ConfigurationError, DecodeError, NotFoundError
from oddtide.domain.events import Message
from oddtide.domain.observability.controls import PipelinePublished
from oddtide.streams.pipeline.plan import StreamPlan

if TYPE_CHECKING:
    from oddtide.config.composition import Composition
    from oddtide.streams.controls import PublishedPipelines

__all__ = ["Change", "Proposal", "check_published", "differences", "events_of", "proposals", "published", "toml_of"]


@dataclass(frozen=True, slots=True)
class Change:
    """One value of a plan; None where that side has none."""

    key: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Proposal:
    """What publishing the settings of one stream would do. ``event`` is None where nothing differs."""

    stream: str
    version: str
    replaces: str
    changes: tuple[Change, ...]
    keeps: tuple[str, ...]
    event: PipelinePublished | None


def events_of(composition: Composition, role: str) -> Iterator[Message]:
    """Every event on the topic of ``role``, by partition in order; what is none of ours is left out."""
    from oddtide.streams.envelope import open_envelope

    with composition.reader() as reader:
        for record in reader.read(composition.catalogue().name(role), stop_at_end=True):
            try:
                yield open_envelope(record.value, record.headers)[1]
            except DecodeError:
                continue


def published(composition: Composition) -> PublishedPipelines:
    """Every version that was ever published. Raises ``NotFoundError`` where the topic is missing."""
    from oddtide.streams.controls import PublishedPipelines

    pipelines = PublishedPipelines()
    for event in events_of(composition, "pipelines"):
        if isinstance(event, PipelinePublished):
            pipelines.take(event)
    return pipelines


def check_published(composition: Composition) -> None:
    """Refuse settings that say something else than what is in force (``ConfigurationError``, with the remedy)."""
    from oddtide.streams.controls import check_pipelines

    check_pipelines(composition.plans(), published(composition))


def differences(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> tuple[Change, ...]:
    """What differs between the contents of two plans, by dotted key. Features and detectors go by name."""
    old, new = dict(_flat(_by_name(before or {}))), dict(_flat(_by_name(after)))
    return tuple(
        Change(key, old.get(key), new.get(key))
        for key in dict.fromkeys([*old, *new])
        if old.get(key) != new.get(key) or (key in old) != (key in new)
    )


def _by_name(content: Mapping[str, Any]) -> dict[str, Any]:
    plain = dict(content)
    if "detectors" in plain:
        plain["detectors"] = {each.get("label") or each["kind"]: each for each in plain["detectors"]}
    if "contract" in plain:
        features = {each["name"]: each for each in plain["contract"].get("features", [])}
        plain["contract"] = {**plain["contract"], "features": features}
        plain["order"] = {"features": list(features), "detectors": list(plain.get("detectors", {}))}
    return plain


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def proposals(
    composition: Composition, streams: Sequence[str], *, by: str, time: str, note: str = ""
) -> list[Proposal]:
    """What publishing would do, for the named streams (none: all of the settings).

    Raises ``NotFoundError`` for a stream that the settings do not have, ``ConfigurationError`` for a change that cannot
    be published: of a topic or its partitions, or to a detector that this machine cannot build."""
    plans = {plan.name: plan for plan in composition.plans()}
    for name in streams:
        if name not in plans:
            raise NotFoundError(f"The settings have no stream {name!r}.", remedy=f"They have: {', '.join(plans)}.")
    pipelines = published(composition)
    return [_proposal(composition, plans[name], pipelines, by, time, note) for name in streams or plans]


def _proposal(
    composition: Composition, plan: StreamPlan, pipelines: PublishedPipelines, by: str, time: str, note: str
) -> Proposal:
    from oddtide.streams.controls import plan_content, publication

    (section,) = (section for section in composition.settings.streams if section.name == plan.name)
    newest = pipelines.newest(plan.name)
    before = pipelines.plan(plan.name, newest.version) if newest else None
    changes = differences(plan_content(before) if before else None, plan_content(plan))
    replaces = newest.version if newest else ""
    if newest is not None:
        _refuse_moving(plan, section.partitions, newest)
        if not changes:
            return Proposal(plan.name, newest.version, replaces, (), (), None)
    toolkit = composition.toolkit()
    for spec in plan.detectors:
        toolkit.detector(spec, plan.contract.names)
    event = publication(
        plan, section.partitions, by=by, time=time, settings=section.written(), note=note, replaces=replaces
    )
    return Proposal(plan.name, plan.version, replaces, changes, before.kept_by(plan) if before else (), event)


def _refuse_moving(plan: StreamPlan, partitions: int, newest: PipelinePublished) -> None:
    for what, now, then in (("topic", plan.topic, newest.topic), ("partitions", partitions, newest.partitions)):
        if now != then:
            raise ConfigurationError(
                f"The stream {plan.name!r} has {what} {then}; publishing cannot make that {now}.",
                remedy="Its ledger belongs to that topic and its partitions. Declare another stream and migrate to it "
                "(docs/operations.md), or set it back.",
            )


def toml_of(settings: Mapping[str, Any]) -> str:
    """A stream's section as TOML, to be put into a settings file."""
    return "\n".join(["[[streams]]", *(f"{_key(key)} = {_toml(value)}" for key, value in settings.items())]) + "\n"


def _toml(value: Any) -> str:
    import orjson

    if isinstance(value, Mapping):
        inside = ", ".join(f"{_key(key)} = {_toml(inner)}" for key, inner in value.items() if inner is not None)
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return orjson.dumps(value).decode()


def _key(name: str) -> str:
    import orjson

    return name if name.replace("_", "").replace("-", "").isalnum() and name.isascii() else orjson.dumps(name).decode()
