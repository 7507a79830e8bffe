"""The read models: every projection of one application in one SQL database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from sqlalchemy import Connection, delete

from oddtide.adapters.storage import tracking
from oddtide.adapters.storage.database import Database, parse_address
from oddtide.adapters.storage.hashing import content_hash
from oddtide.adapters.storage.locks import ProjectorLock, database_holder, lock_database
from oddtide.adapters.storage.migrate import migrate
from oddtide.adapters.storage.outbox import SqlOutbox, enqueue
from oddtide.adapters.storage.ports import Logged
from oddtide.adapters.storage.projections import GROUPS, Fact, Store, find
from oddtide.adapters.storage.queries import Queries
from oddtide.adapters.storage.tracking import Partition, Tracked
from oddtide.domain.errors import NotFoundError

__all__ = ["SqlReadModels"]

_NS_PER_MS = 1_000_000
_NEWS_S = 3_600.0
_KEEP = 100_000


class SqlReadModels(Queries, SqlOutbox):
    """Projections on SQLite or PostgreSQL; fits ``ReadModels`` of the agents.

    ``channels``  what an opened alert is to be notified through; none: nothing enters the outbox
    ``news_s``    an alert that was logged longer ago than this is no news: it never enters the outbox
    ``keep``      rows that each table of recents (detections, violations, drifts) is kept to

    Guaranteed: state, position and outbox of a fold change in one transaction; a record at or before the position, and
    a fact that was logged twice, have no second effect; a projection reset and folded again up to where it was has the
    same content hash and notifies nobody. Safe to use from several threads. Not guaranteed: that two processes may
    fold into one SQLite file; take the projector lock first.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Callable[[], int],
        channels: Sequence[str] = (),
        news_s: float = _NEWS_S,
        keep: int = _KEEP,
    ) -> None:
        super().__init__(Database(parse_address(url)), clock=clock, keep=keep)
        self._channels = tuple(channels)
        self._news_ms = int(news_s * 1000)
        self._added: dict[str, int] = {}

    def open(self) -> Self:
        """Bring the database to this build's schema. Raises ``StorageUnavailableError``."""
        try:
            migrate(self._database)
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Give the connections back."""
        self._database.close()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def positions(self, projection: str) -> Mapping[Partition, int]:
        """Next offset to fold, by (topic, partition). Absent: from the beginning."""
        _check_group(projection)
        with self._database.reading() as connection:
            tracked = tracking.load(connection, projection)
        return {place: state.position for place, state in tracked.items() if state.position is not None}

    def fold(self, projection: str, events: Sequence[Logged], positions: Mapping[Partition, int]) -> None:
        """Fold ``events`` in order into the group's projections and move to ``positions``, at once.

        A position never moves back, and always beyond the events that were folded.
        """
        _check_group(projection)
        with self._database.writing() as connection:
            tracking.lock(connection, projection)
            before = tracking.load(connection, projection)
            after = dict(before)
            facts = _unseen(events, after)
            for place, position in positions.items():
                _advance(after, place, position)
            store = Store(connection, keep=self._keep, added=self._added)
            self._fold_facts(projection, facts, store)
            if self._channels:
                enqueue(store, [fact for fact in facts if self._is_news(fact, before)], self._channels, self._clock())
            tracking.save(store, projection, {p: state for p, state in after.items() if before.get(p) != state})

    def _fold_facts(self, group: str, facts: Sequence[Fact], store: Store) -> None:
        for projection in find(group):
            mine = [fact for fact in facts if type(fact.event) in projection.takes]
            if mine:
                projection.fold(mine, store)

    def _is_news(self, fact: Fact, before: Mapping[Partition, Tracked]) -> bool:
        logged = fact.logged
        state = before.get((logged.topic, logged.partition), Tracked())
        age_ms = self._clock() // _NS_PER_MS - logged.timestamp
        return logged.offset >= state.silent_until and age_ms <= self._news_ms

    def acquire_projector_lock(self, holder: str, *, alone: bool = False) -> ProjectorLock | None:
        """The right to fold; None where it is taken (:meth:`projector_holder` says by whom).

        SQLite: one process. PostgreSQL: any number, or one with ``alone``, as a rebuild needs it.
        """
        return lock_database(self._database, holder, alone=alone)

    def projector_holder(self) -> str | None:
        """Who has the right to fold; None where nobody has."""
        return database_holder(self._database)

    def content_hash(self, projection: str) -> str:
        """A hash of what the group (or the one projection of this name) holds; positions are no part of it."""
        with self._database.reading() as connection:
            return content_hash(connection, find(projection), self._keep)

    def reset(self, projection: str) -> None:
        """Empty the group and go back to the beginning of its topics.

        What had been folded before counts as a rebuild: it notifies nobody when it is folded again. The caller makes
        sure that nobody folds meanwhile: a projector that goes on from its old place would leave a hole.
        """
        _check_group(projection)
        with self._database.writing() as connection:
            tracking.lock(connection, projection)
            _empty(connection, projection)
            tracking.forget(connection, projection)


def _check_group(name: str) -> None:
    if name not in GROUPS:
        raise NotFoundError(
            f"There is no group of projections {name!r}.", remedy=f"Known: {', '.join(sorted(GROUPS))}."
        )


def _unseen(events: Sequence[Logged], tracked: dict[Partition, Tracked]) -> list[Fact]:
    """The events beyond the positions, which move along with them."""
    facts = []
    for event in events:
        place = (event.topic, event.partition)
        state = tracked.get(place)
        if state is None or state.position is None or event.offset >= state.position:
            facts.append(Fact(event))
            _advance(tracked, place, event.offset + 1)
    return facts


def _advance(tracked: dict[Partition, Tracked], place: Partition, position: int) -> None:
    state = tracked.get(place, Tracked())
    if state.position is None or state.position < position:
        tracked[place] = Tracked(position, state.silent_until)


def _empty(connection: Connection, group: str) -> None:
    for projection in find(group):
        for content in projection.contents:
            connection.execute(delete(content.table))
