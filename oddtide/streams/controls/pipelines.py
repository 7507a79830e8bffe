"""Published pipeline versions: a plan as content of an event and back, and which version is in force.

The topic is compacted with one key a version (``<stream>/<version>``), so no version that was ever published is lost
and a replay finds each. The stream's newest record says which one is in force: going back to an older version writes
that one's record again, at the end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec
import orjson

from oddtide.domain.errors import ConfigurationError, NotFoundError
from oddtide.domain.observability.controls import ControlApplied, ControlsInForce, PipelinePublished
from oddtide.streams.controls.kinds import Place
from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.ports import LoggedEvent

__all__ = ["PublishedPipelines", "pipeline_key", "plan_content", "plan_of"]


def pipeline_key(event: PipelinePublished) -> str:
    """The record's key: one for each version of each stream."""
    return f"{event.stream}/{event.version}"


def plan_content(plan: StreamPlan) -> dict[str, Any]:
    """Everything that decides the plan's verdicts, as JSON has it. Raises ``ConfigurationError`` for a plan that JSON
    cannot say (an infinite number)."""
    content = plan.content()
    if not _finite(content):
        raise ConfigurationError(
            f"The pipeline of the stream {plan.name!r} cannot be published: JSON cannot say all of its numbers.",
            remedy="Use finite numbers in its settings.",
        )
    plain: dict[str, Any] = orjson.loads(orjson.dumps(content))
    return plain


def _finite(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(map(_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def plan_of(event: PipelinePublished) -> StreamPlan:
    """The plan that was published, under the version that it was published as.

    Raises ``ConfigurationError`` where a newer build wrote something that this one does not know: to go on without it
    would give other verdicts under the same version."""
    try:
        plan = msgspec.convert(event.plan, StreamPlan)
    except msgspec.ValidationError as error:
        raise _unknown(event, str(error)) from None
    missing = _unread(event.plan, plan_content(plan))
    if missing:
        raise _unknown(event, f"it does not know {missing}")
    return msgspec.convert({**event.plan, "published_as": event.version}, StreamPlan)


def _unknown(event: PipelinePublished, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"The pipeline {event.version} of the stream {event.stream!r} cannot be read by this build: {why}.",
        remedy="Upgrade oddtide on this machine.",
    )


def _unread(written: Any, read: Any, path: str = "plan") -> str:
    """The first place in ``written`` that is not in ``read`` with the same value; empty where all of it is."""
    if isinstance(written, Mapping) and isinstance(read, Mapping):
        return next((bad for key in written if (bad := _unread(written[key], read.get(key), f"{path}.{key}"))), "")
    if isinstance(written, list) and isinstance(read, list) and len(written) == len(read):
        pairs = enumerate(zip(written, read, strict=True))
        return next((bad for i, (a, b) in pairs if (bad := _unread(a, b, f"{path}.{i}"))), "")
    return "" if written == read else path


class PublishedPipelines:
    """A fold of the pipelines topic."""

    def __init__(self) -> None:
        self._versions: dict[str, dict[str, PipelinePublished]] = {}
        self._plans: dict[tuple[str, str], StreamPlan] = {}

    def fold(self, logged: LoggedEvent) -> None:
        """Take the next event."""
        if isinstance(logged.event, PipelinePublished):
            self.take(logged.event)

    def take(self, event: PipelinePublished) -> None:
        """The same for the bare event."""
        versions = self._versions.setdefault(event.stream, {})
        versions.pop(event.version, None)  # the one published last stands last
        versions[event.version] = event

    def streams(self) -> list[str]:
        """The streams that ever had a version, sorted."""
        return sorted(self._versions)

    def versions(self, stream: str) -> tuple[PipelinePublished, ...]:
        """Every version of a stream, by when it was published last. The last one is to be in force."""
        return tuple(self._versions.get(stream, {}).values())

    def newest(self, stream: str) -> PipelinePublished | None:
        """The version that is to be in force; None where none was ever published."""
        return (self.versions(stream) or (None,))[-1]

    def plan(self, stream: str, version: str) -> StreamPlan:
        """The plan of a published version. Raises ``NotFoundError``, or what :func:`plan_of` raises."""
        known = self._plans.get((stream, version))
        if known is None:
            event = self._versions.get(stream, {}).get(version)
            if event is None:
                raise NotFoundError(
                    f"The pipeline {version!r} of the stream {stream!r} was never published.",
                    remedy="`oddtide pipelines list` shows those that were.",
                )
            known = self._plans[stream, version] = plan_of(event)
        return known

    def due(self, place: Place, in_force: ControlsInForce, offset: int) -> list[ControlApplied]:
        """One control where another version is published than is in force."""
        newest = self.newest(place.stream)
        if newest is None or newest.version == in_force.pipeline:
            return []
        plan = self.plan(place.stream, newest.version)
        if plan.topic != place.topic:
            raise ConfigurationError(
                f"The published pipeline {newest.version} of {place.stream!r} reads {plan.topic}, not {place.topic}.",
                remedy="A stream's topic cannot change; publish the pipeline of this one, or declare another stream.",
            )
        before = self.plan(place.stream, in_force.pipeline) if in_force.pipeline else None
        kept = before.kept_by(plan) if before else ()
        return [
            ControlApplied(
                kind="pipeline", offset=offset, pipeline=newest.version, kept=kept,
                causation=pipeline_key(newest),
            )
        ]  # fmt: skip
