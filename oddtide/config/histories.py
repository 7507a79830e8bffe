"""Going over a stream's history from the command line: which partitions, which offsets, spread over processes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from oddtide.config.going import Going
from oddtide.config.settings import Settings
from oddtide.config.spreading import Tell, cores, spread
from oddtide.domain.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from oddtide.adapters.blobs.signed import SignedBlobs
    from oddtide.adapters.kafka.admin import KafkaAdmin
    from oddtide.config.composition import Composition
    from oddtide.config.stream_settings import StreamSettings
    from oddtide.streams.replay.auditing import LedgerAdded
    from oddtide.streams.replay.history import History
    from oddtide.streams.replay.verifying import Verification

__all__ = [
    "Range",
    "Selection",
    "Wanted",
    "add_up",
    "find_stream",
    "history",
    "place",
    "ranges",
    "select",
    "span",
    "to_fold",
    "verify",
]

#: Below so many records one process is done before others have started.
_WORTH_A_PROCESS = 200_000


@dataclass(frozen=True, slots=True)
class Selection:
    """A stream with its own settings, the chosen partitions and how far their logs reach: (begin, end) offsets."""

    stream: StreamSettings
    topic: str
    bounds: dict[int, tuple[int, int]]

    @property
    def records(self) -> int:
        """Offsets that the log holds of them."""
        return sum(end - begin for begin, end in self.bounds.values())

    def processes(self, jobs: int | None) -> int:
        """How many processes are worth it, unless somebody says how many."""
        return jobs or (cores() if self.records >= _WORTH_A_PROCESS else 1)


class Wanted(NamedTuple):
    """What somebody asked for: which stream, from where to where (offsets or times), which partitions, how many
    processes."""

    stream: str | None
    start: str | None
    stop: str | None
    partitions: tuple[int, ...]
    jobs: int | None


@dataclass(frozen=True, slots=True)
class Range:
    """What part of a partition is meant: (first, next) offsets, None for as far as there is any."""

    partition: int
    start: int | None = None
    stop: int | None = None


def select(composition: Composition, admin: KafkaAdmin, stream: str | None, partitions: Sequence[int]) -> Selection:
    """The stream ``stream`` (None: the only one) and those of its partitions that are asked for (none: all).

    Raises ``NotFoundError`` for one that there isn't, ``UsageError`` where the stream must be named.
    """
    settings = find_stream(composition.settings, stream)
    topic = settings.topic_for(composition.settings.prefix)
    bounds = admin.offsets(topic)
    unknown = sorted(set(partitions) - bounds.keys())
    if unknown:
        raise NotFoundError(
            f"The topic {topic!r} has no partition {unknown[0]}.",
            remedy=f"It has the partitions 0 to {len(bounds) - 1}.",
        )
    return Selection(settings, topic, {each: bounds[each] for each in sorted(set(partitions) or bounds)})


def find_stream(settings: Settings, stream: str | None) -> StreamSettings:
    """The settings of a stream by its name; None: of the only one."""
    names = [each.name for each in settings.streams]
    if stream is None and len(names) > 1:
        raise UsageError(f"There are {len(names)} streams: {', '.join(names)}.", remedy="Name one with --stream.")
    if stream is not None and stream not in names:
        raise NotFoundError(f"There is no stream {stream!r}.", remedy=f"There are: {', '.join(names)}.")
    return settings.streams[0 if stream is None else names.index(stream)]


def place(text: str | None) -> int | str | None:
    """What ``--from`` or ``--to`` says: an offset, or a time (RFC 3339, UTC where it has no offset)."""
    from oddtide.domain.errors import DecodeError
    from oddtide.streams.codecs.times import parse_time

    if text is None or re.fullmatch(r"\d+", text):
        return None if text is None else int(text)
    try:
        parse_time(text)
    except DecodeError:
        raise UsageError(
            f"{text!r} is neither an offset nor a time.", remedy="Write 12000, 2026-01-31T12:00:00Z or 2026-01-31."
        ) from None
    return text


def span(wanted: Wanted) -> tuple[int | str | None, int | str | None]:
    """``--from`` and ``--to``, each an offset or a time. Raises ``UsageError`` where nothing lies between them."""
    from oddtide.streams.codecs.times import parse_time

    start, stop = place(wanted.start), place(wanted.stop)
    if isinstance(start, int) and isinstance(stop, int):
        empty = start >= stop
    elif isinstance(start, str) and isinstance(stop, str):
        empty = parse_time(start) >= parse_time(stop)
    else:  # an offset and a time: what lies between them differs from partition to partition
        empty = False
    if empty:
        raise UsageError(
            f"Nothing lies between --from {wanted.start} and --to {wanted.stop}.", remedy="Let --to be after --from."
        )
    return start, stop


def ranges(composition: Composition, chosen: Selection, start: int | str | None, stop: int | str | None) -> list[Range]:
    """The range of each partition; a time means another offset in each."""
    from oddtide.streams.agents.logs import log_client
    from oddtide.streams.codecs.times import parse_time
    from oddtide.streams.replay.reading import offset_at
    from oddtide.streams.replay.running import run

    async def offset(client: Any, partition: int, at: int | str | None) -> int | None:
        if not isinstance(at, str):
            return at
        return await offset_at(client, chosen.topic, partition, -(-parse_time(at) // 1_000_000))

    async def resolve() -> list[Range]:
        async with log_client(composition.broker_access()) as client:
            return [
                Range(each, await offset(client, each, start), await offset(client, each, stop))
                for each in chosen.bounds
            ]

    return run(resolve())


# ------------------------------------------------------------------------------------------------- ledger check


@dataclass(frozen=True, slots=True)
class _AuditTask:
    settings: Settings
    stream: str
    partitions: tuple[int, ...]
    compacted: bool


def add_up(composition: Composition, chosen: Selection, *, compacted: bool, jobs: int | None) -> list[LedgerAdded]:
    """Add the ledgers of the chosen partitions up; in the partitions' order."""
    count = composition.catalogue().partitions
    groups: dict[int, list[int]] = {}
    for partition in chosen.bounds:
        groups.setdefault(partition % count, []).append(partition)
    tasks = [_AuditTask(composition.settings, chosen.stream.name, tuple(group), compacted) for group in groups.values()]
    going = Going("adding up", chosen.records)
    found = spread(_add_up, tasks, processes=chosen.processes(jobs), tell=going)
    going.end()
    return sorted((each for group in found for each in group), key=lambda each: each.partition)


def _add_up(task: _AuditTask, tell: Tell) -> list[LedgerAdded]:
    from oddtide.config.composition import Composition
    from oddtide.streams.replay.counting import Audit, audit_partitions
    from oddtide.streams.replay.running import run

    composition, settings = Composition(task.settings), task.settings
    plan = find_stream(settings, task.stream).plan(settings.prefix)
    audit = Audit(
        plan, task.partitions, composition.broker_access(), composition.catalogue(), settings.application,
        task.compacted,
    )  # fmt: skip
    return run(audit_partitions(audit, tell))


# ------------------------------------------------------------------------------------------------------- verify


@dataclass(frozen=True, slots=True)
class _VerifyTask:
    settings: Settings
    stream: str
    range: Range


def verify(
    composition: Composition, chosen: Selection, wanted: Sequence[Range], *, jobs: int | None
) -> list[Verification]:
    """Compute the chosen partitions anew and compare them with their ledgers; in the partitions' order."""
    tasks = [_VerifyTask(composition.settings, chosen.stream.name, each) for each in wanted]
    going = Going("replaying", to_fold(chosen, wanted))
    found = spread(_verify, tasks, processes=chosen.processes(jobs), tell=going)
    going.end()
    return found


def to_fold(chosen: Selection, wanted: Sequence[Range]) -> int:
    """How many offsets a replay of these ranges goes over."""
    spans = ((chosen.bounds[each.partition], each.stop) for each in wanted)
    return sum(max(0, (end if stop is None else min(stop, end)) - begin) for (begin, end), stop in spans)


def history(settings: Settings, stream: str, wanted: Range, *, snapshots: bool = False) -> History:
    """A partition's history as these settings have it; with ``snapshots`` it may begin from one."""
    from oddtide.config.build import build_name
    from oddtide.config.composition import Composition
    from oddtide.streams.replay.history import History

    composition = Composition(settings)
    return History(
        plan=find_stream(settings, stream).plan(settings.prefix),
        partition=wanted.partition,
        broker=composition.broker_access(),
        catalogue=composition.catalogue(),
        toolkit=composition.toolkit(),
        artifacts=_Stored(composition, composition.artifacts),
        snapshots=_Stored(composition, composition.snapshots) if snapshots else None,
        application=settings.application,
        build=build_name(),
        start=wanted.start,
        stop=wanted.stop,
    )


class _Stored:
    """A store of models or snapshots that is opened only where something is wanted of it, and never made: a replay
    writes nothing, no data folder and no key either."""

    def __init__(self, composition: Composition, open_store: Callable[[], SignedBlobs]) -> None:
        self._settings = composition.settings
        self._open = open_store

    def put(self, name: str, content: Any) -> tuple[str, str]:
        """Refused."""
        raise UsageError(f"A replay stores nothing: {name!r} was to be.")

    def get(self, reference: str, digest: str) -> bytes:
        """Read back. Raises what the store raises."""
        if not self._settings.data_folder.exists():
            raise NotFoundError(f"There is no {self._settings.data_folder}, so no {reference} either.")
        return self._open().get(reference, digest)

    def references(self, name: str) -> list[str]:
        """Nobody asks a replay."""
        return []

    def delete(self, reference: str) -> None:
        """Refused."""
        raise UsageError(f"A replay deletes nothing: {reference!r} was to be.")


def _verify(task: _VerifyTask, tell: Tell) -> Any:
    from oddtide.streams.replay.checking import verify_partition
    from oddtide.streams.replay.running import run

    return run(verify_partition(history(task.settings, task.stream, task.range, snapshots=True), tell))
