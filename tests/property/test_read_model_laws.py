"""Laws of the read models: however the log is cut, interleaved and repeated, the content is the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oddtide.adapters.storage import SqlReadModels
from oddtide.adapters.storage.projections import GROUPS
from oddtide.domain.events import Message
from oddtide.domain.observability.events import AgentDegraded, CommandRefused, LedgerBroken, WorkerStopped
from oddtide.streams.ports import LoggedEvent
from tests import read_model_events as make
from tests.read_model_events import NOW, Log, at

pytest_plugins = ("tests.postgres",)

_ODD = ("pump-1", "pumpe\x00ü", "PUMP-1")


@dataclass(frozen=True)
class Drawn:
    """A draw: which maker, and the small numbers that fill its event in; or which earlier event comes ``again``."""

    maker: int
    who: int
    number: int
    partition: int
    again: int | None


# Group, topic, whether a key's events may lie in several partitions, and what yields an event of (who, number).
_Maker = Callable[[int, int], Message]
_MAKERS: tuple[tuple[str, str, bool, _Maker], ...] = (
    ("observability", "alerts", False, lambda w, n: make.opened(f"a{w}", series=_ODD[w])),
    ("observability", "alerts", False, lambda w, n: make.updated(f"a{w}", second=n, count=n)),
    ("observability", "alerts", True, lambda w, n: make.acknowledged(f"a{w}", second=n)),
    ("observability", "alerts", True, lambda w, n: make.resolved(f"a{w}", second=n)),
    ("observability", "alerts", True, lambda w, n: CommandRefused(command="c", target=f"a{w}", reason="")),
    ("observability", "detections", False,
     lambda w, n: make.detection(f"v{w}-{n}", series=_ODD[w], second=n, offset=n, score=-0.0, partition=w)),
    ("observability", "quality", False, lambda w, n: make.violated(f"q{w}-{n}", offset=n, rule=f"r{w}", partition=w)),
    ("observability", "quality", False, lambda w, n: make.profile(n, series=_ODD[w], offset=n)),
    ("observability", "drift", False, lambda w, n: make.drifted(f"d{w}-{n}", offset=n, watched=f"value:{w}")),
    ("observability", "drift", False, lambda w, n: make.adapted(f"x{w}-{n}", offset=n, partition=w)),
    ("observability", "feedback", True, lambda w, n: make.given(f"f{w}", second=n)),
    ("observability", "feedback", True, lambda w, n: make.withdrawn(f"f{w}", second=n)),
    ("health", "health", False, lambda w, n: make.started(f"w{w}", second=n)),
    ("health", "health", False, lambda w, n: make.beat(f"w{w}", second=n)),
    ("health", "health", False, lambda w, n: make.lost(f"w{w}", last=n)),
    ("health", "health", False, lambda w, n: WorkerStopped(worker=f"w{w}", time=at(n))),
    ("health", "health", False,
     lambda w, n: AgentDegraded(worker="w", part=f"p{w}", reason="r", remedy="m", time=at(n))),
    ("health", "health", False,
     lambda w, n: LedgerBroken(stream="s", topic="t", partition=w, offset=n, problem="gap", time=at(n))),
    ("health", "readings.ledger", False,
     lambda w, n: make.batch(3 * n, 3 * n + 4, partition=w, scored=3, rejected={f"r{n % 2}": 1})),
    ("mlops", "models", False, lambda w, n: make.registered(f"m{w}")),
    ("mlops", "models", False, lambda w, n: make.trained(f"m{w}", n)),
    ("mlops", "models", False, lambda w, n: make.promoted(f"m{w}", n)),
)  # fmt: skip

_ROLES = sorted({role for _, role, _, _ in _MAKERS})


def _draws_of(makers: Sequence[int], min_size: int = 1) -> st.SearchStrategy[list[Drawn]]:
    again = st.none() | st.integers(0, 40)
    one = st.builds(
        Drawn, st.sampled_from(makers), who=st.integers(0, 2), number=st.integers(0, 6), partition=st.integers(0, 1),
        again=again,
    )  # fmt: skip
    return st.lists(one, min_size=min_size, max_size=40)


def _of_topic(role: str) -> st.SearchStrategy[list[Drawn]]:
    return _draws_of([n for n, maker in enumerate(_MAKERS) if maker[1] == role], min_size=12)


_chances = st.integers(0, 2**32).map(Random)
_Logs = dict[str, list[LoggedEvent]]


def written(draws: Sequence[Drawn]) -> tuple[_Logs, _Logs]:
    """The logs of each group: with decisions logged twice, and the same offsets without the repeats."""
    log = Log()
    everything: _Logs = defaultdict(list)
    once: _Logs = defaultdict(list)
    decided: list[tuple[str, str, Message, int, str]] = []
    for draw in draws:
        decision = _decision(draw)
        if draw.again is not None and decided:
            decision = decided[draw.again % len(decided)]
        group, topic, event, partition, id = decision
        timestamp = NOW // 1_000_000 + len(everything[group])
        logged = log.append(topic, event, partition=partition, id=id, timestamp=timestamp)
        everything[group].append(logged)
        if decision not in decided:
            decided.append(decision)
            once[group].append(logged)
    return everything, once


def _decision(draw: Drawn) -> tuple[str, str, Message, int, str]:
    """Group, topic, event, partition and id; the same draw decides the same."""
    group, role, spread, maker = _MAKERS[draw.maker]
    partition = draw.partition if spread else draw.who % 2
    id = f"{draw.maker}-{draw.who}-{draw.number}-{partition}"
    return group, f"oddtide.{role}", maker(draw.who, draw.number), partition, id


def delivered(log: Sequence[LoggedEvent], chance: Random) -> Iterator[list[LoggedEvent]]:
    """The log in batches: partitions interleaved at random, their order kept, some batches twice."""
    partitions: dict[tuple[str, int], list[LoggedEvent]] = defaultdict(list)
    for event in log:
        partitions[(event.topic, event.partition)].append(event)
    batch: list[LoggedEvent] = []
    while partitions:
        place = chance.choice(sorted(partitions))
        count = chance.randint(1, 9)
        batch += partitions[place][:count]
        partitions[place] = partitions[place][count:]
        if not partitions[place]:
            del partitions[place]
        if chance.random() < 0.5 or not partitions:
            yield batch
            if chance.random() < 0.3:
                yield batch[len(batch) // 2 :]
            batch = []


def fold(models: SqlReadModels, group: str, batch: Sequence[LoggedEvent]) -> None:
    models.fold(group, batch, {(event.topic, event.partition): event.offset + 1 for event in batch})


def content(models: SqlReadModels, logs: _Logs, chance: Random) -> list[str]:
    """The hashes after folding everything anew."""
    for group in sorted(logs):
        models.reset(group)
        for batch in delivered(logs[group], chance):
            fold(models, group, batch)
    return [models.content_hash(group) for group in sorted(logs)]


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlReadModels]:
    folder: Path = tmp_path_factory.mktemp("laws")
    with SqlReadModels(f"sqlite:///{folder}/read.db", clock=lambda: NOW, channels=("webhook",), keep=4) as models:
        yield models


@pytest.mark.parametrize("role", _ROLES)
@settings(max_examples=30)
@given(data=st.data(), chance=_chances)
def test_batches_interleaving_and_repeats_never_matter(
    sqlite: SqlReadModels, role: str, data: st.DataObject, chance: Random
) -> None:
    draws = data.draw(_of_topic(role))
    everything, once = written(draws)
    first = content(sqlite, everything, chance)
    positions = [sqlite.positions(group) for group in GROUPS]
    assert content(sqlite, everything, chance) == first
    assert [sqlite.positions(group) for group in GROUPS] == positions
    assert content(sqlite, once, chance) == first


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(draws=_draws_of(range(len(_MAKERS)), min_size=20), chance=_chances)
def test_every_database_comes_to_the_same_content(
    sqlite: SqlReadModels, postgres_url: str, draws: list[Drawn], chance: Random
) -> None:
    everything, _ = written(draws)
    with SqlReadModels(postgres_url, clock=lambda: NOW, channels=("webhook",), keep=4) as postgres:
        assert content(postgres, everything, chance) == content(sqlite, everything, chance)
        notified = [models.notifications() for models in (postgres, sqlite)]
        assert content(postgres, everything, chance) == content(sqlite, everything, chance)
        assert [models.notifications() for models in (postgres, sqlite)] == notified
