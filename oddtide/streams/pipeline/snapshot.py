"""A snapshot: the state of one partition at one offset, as a value that can be written down and taken up again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from oddtide.domain.errors import DecodeError, SchemaVersionError, StateMismatchError
from oddtide.domain.observability.controls import ControlsInForce
from oddtide.domain.readings import SeriesColumn
from oddtide.domain.slots import SlotState
from oddtide.streams.codecs.container import Column, Content, read_container, write_container
from oddtide.streams.pipeline.processor import PartitionProcessor
from oddtide.streams.pipeline.running_hash import hash_text
from oddtide.streams.scratch import Scratch

__all__ = ["FORMAT", "Part", "Snapshot", "decode_snapshot", "encode_snapshot", "restore", "take"]

#: The format written. Each older one has an entry in ``_UPCASTS``.
FORMAT = 1

_SERIES, _SIZES = "series", "series sizes"
_FALL_BACK = "An older snapshot is tried, or the log is folded from its start."

_Upcast = Callable[[Content], Content]
#: From each old format to the next: ``_UPCASTS[1]`` makes a content of format 2 of one of format 1.
_UPCASTS: dict[int, _Upcast] = {}


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A file of those who sleep, which several snapshots may share: its name, and where it lies in the store."""

    name: str
    reference: str
    digest: str
    size: int


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What a snapshot says of itself. ``position`` is the next offset to fold, ``hash`` the running hash there;
    ``pipeline`` and ``detectors`` are the versions that the state is of; ``in_force`` the controls. ``parts`` are the
    files of those who sleep, none where nobody does."""

    stream: str
    topic: str
    partition: int
    position: int
    hash: str
    pipeline: str
    build: str
    detectors: tuple[str, ...]
    in_force: ControlsInForce = ControlsInForce()
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of a partition. ``stages`` has the state of ``series``, in their order, by stage, and what a stage
    keeps of no awake series. Shares no memory with
    the processor that it was taken of. Before it is stored, ``files`` in ``folder`` are those of who sleeps."""

    about: About
    series: SeriesColumn
    stages: Mapping[str, SlotState]
    folder: Path | None = None
    files: tuple[Path, ...] = ()

    def with_parts(self, parts: Iterable[Part]) -> Snapshot:
        """The same, its files stored as ``parts``."""
        return replace(self, about=msgspec.structs.replace(self.about, parts=tuple(parts)))


def take(processor: PartitionProcessor, *, build: str, scratch: Scratch | None = None) -> Snapshot:
    """The state as it is now, as copies; a memory copy's time, and some links of files where series sleep, which are
    then in a folder of ``scratch``. Call it between two folds. Raises ``StorageUnavailableError``."""
    plan = processor.plan
    series, stages = processor.save()
    about = About(
        stream=plan.name, topic=plan.topic, partition=processor.partition, position=processor.position,
        hash=hash_text(processor.hash), pipeline=plan.version, build=build, detectors=processor.versions,
        in_force=processor.in_force,
    )  # fmt: skip
    if scratch is None or processor.sleepers is None or not processor.sleepers.asleep:
        return Snapshot(about, series, stages)
    folder = scratch.make()
    try:
        files = processor.sleepers.checkpoint(folder / "asleep")
    except BaseException:
        scratch.drop(folder)
        raise
    return Snapshot(about, series, stages, folder, tuple(files))


def restore(snapshot: Snapshot, processor: PartitionProcessor, asleep: Path | None = None) -> None:
    """Take up the state in an empty processor of the same stream and partition, in which ``about.in_force`` is in force
    already; ``asleep`` is the folder with the files of its parts. The bytes in it may be unpickled: its signature must
    have been checked.

    Raises ``StateMismatchError`` for a state of something else, ``StorageUnavailableError`` where those who sleep
    cannot be put anywhere."""
    about, plan = snapshot.about, processor.plan
    have = (plan.name, plan.topic, processor.partition, plan.version, processor.versions)
    want = (about.stream, about.topic, about.partition, about.pipeline, about.detectors)
    for mine, its, what in zip(have, want, ("stream", "topic", "partition", "pipeline", "detectors"), strict=True):
        if mine != its:
            raise StateMismatchError(f"The snapshot is of {what} {its}, not {mine}.", remedy=_FALL_BACK)
    processor.load(snapshot.series, snapshot.stages)
    if about.parts:
        if processor.sleepers is None or asleep is None:
            raise StateMismatchError(
                "Series sleep in the snapshot, and this worker keeps every series in memory.",
                remedy="Set worker.memory_mib as it was, or let the log be folded from its start.",
            )
        processor.sleepers.restore(asleep)
    processor.start_at(about.position, int(about.hash, 16))


def encode_snapshot(snapshot: Snapshot) -> list[bytes | memoryview]:
    """The snapshot's bytes in pieces; its arrays are not copied."""
    columns: dict[str, Column] = {_SERIES: snapshot.series.data, _SIZES: snapshot.series.size}
    for stage, state in snapshot.stages.items():
        columns |= {f"{stage}/{name}": column for name, column in state.items()}
    about = msgspec.to_builtins(snapshot.about)
    return write_container(Content(FORMAT, {**about, "stages": list(snapshot.stages)}, columns))


def decode_snapshot(raw: bytes) -> Snapshot:
    """The inverse; an older format is brought up to the present one. Runs nothing that lies in it.

    Raises ``DecodeError`` for other bytes and ``SchemaVersionError`` for a newer format."""
    content = _upcast(read_container(raw))
    try:
        about = msgspec.convert(content.about, About)
        stages: dict[str, SlotState] = {stage: {} for stage in content.about["stages"]}
        data, sizes = _array(content.columns.pop(_SERIES)), _array(content.columns.pop(_SIZES))
        for path, column in content.columns.items():
            stage, _, name = path.rpartition("/")
            stages[stage][name] = column
    except (msgspec.ValidationError, KeyError, TypeError) as error:
        raise DecodeError("no_snapshot", f"the container holds no snapshot: {error!r}") from None
    return Snapshot(about, SeriesColumn(data, np.cumsum(sizes) - sizes, sizes), stages)


def _upcast(content: Content) -> Content:
    while content.version < FORMAT:
        content = _UPCASTS[content.version](content)
    if content.version > FORMAT:
        raise SchemaVersionError(
            f"The snapshot has format {content.version}; this build knows up to {FORMAT}.", remedy=_FALL_BACK
        )
    return content


def _array(column: Column) -> NDArray[Any]:
    if isinstance(column, list):
        raise TypeError("a list of bytes where an array belongs")
    return column
