"""Folding a group of projections anew from the log: state is a fold, and here is the proof."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oddtide.domain.errors import CommandRefusedError

if TYPE_CHECKING:
    from oddtide.adapters.kafka.reader import KafkaReader
    from oddtide.adapters.storage import SqlReadModels
    from oddtide.config.composition import Composition

__all__ = ["Rebuilt", "rebuild"]

_AT_ONCE = 2_000


@dataclass(frozen=True)
class Rebuilt:
    """What a rebuild did. ``cut`` lists partitions whose oldest records the log no longer holds."""

    projection: str
    records: int
    before: str
    after: str
    cut: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether the content is what it was."""
        return self.before == self.after


def rebuild(composition: Composition, group: str, progress: Callable[[int, int], None]) -> Rebuilt:
    """Empty ``group`` and fold its topics again, from the log's beginning to where it was.

    Nobody may fold meanwhile, so this takes the projector lock. Raises ``CommandRefusedError`` where another process
    has it, and says who. Interrupted, the group goes on from where the rebuild was when a worker starts.
    """
    with composition.read_models() as models:
        lock = models.acquire_projector_lock("oddtide projections rebuild", alone=True)
        if lock is None:
            raise CommandRefusedError(
                f"{models.projector_holder() or 'Another process'} folds into the read models.",
                remedy="Stop that worker, rebuild, and start it again.",
            )
        with lock:
            return _rebuild(composition, models, group, progress)


def _rebuild(
    composition: Composition, models: SqlReadModels, group: str, progress: Callable[[int, int], None]
) -> Rebuilt:
    goals = dict(models.positions(group))
    before = models.content_hash(group)
    with composition.admin() as admin:
        begins = {(topic, p): span[0] for topic in {t for t, _ in goals} for p, span in admin.offsets(topic).items()}
    total = sum(max(goal - begins.get(place, 0), 0) for place, goal in goals.items())
    models.reset(group)
    done = 0
    for (topic, partition), goal in sorted(goals.items()):
        with composition.reader() as reader:
            for records in _chunks(reader, topic, partition, goal):
                _fold(models, group, topic, partition, records)
                done += len(records)
                progress(done, total)
        models.fold(group, [], {(topic, partition): goal})
    cut = tuple(f"{topic}[{p}]" for (topic, p), goal in sorted(goals.items()) if begins.get((topic, p), 0) > 0)
    return Rebuilt(group, done, before, models.content_hash(group), cut)


def _chunks(reader: KafkaReader, topic: str, partition: int, goal: int) -> Iterator[list[Any]]:
    chunk: list[Any] = []
    for record in reader.read(topic, partitions=[partition], start="beginning", stop_at_end=True):
        if record.offset >= goal:
            break
        chunk.append(record)
        if len(chunk) >= _AT_ONCE:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _fold(models: SqlReadModels, group: str, topic: str, partition: int, records: list[Any]) -> None:
    from oddtide.streams.logged import logged_events

    events = logged_events(topic, partition, records)
    models.fold(group, events, {(topic, partition): records[-1].offset + 1})
