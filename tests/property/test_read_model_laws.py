"""Laws of the read models: however the log is cut, interleaved and repeated, the content is the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

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
    """A draw: which maker, and the small numbers that fill its event in."""

    maker: int
    who: int
    number: int
    partition: int
    repeats: int


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
    ("observability", "drift", False, lambda w, n: make.adapted(f"x{w}-{n}", offset=n)),
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

_draws = st.lists(
    st.builds(
        Drawn, maker=st.integers(0, len(_MAKERS) - 1), who=st.integers(0, 2), number=st.integers(0, 9),
        partition=st.integers(0, 1), repeats=st.integers(0, 2),
    ),
    min_size=1, max_size=40,
)  # fmt: skip
_Logs = dict[str, list[LoggedEvent]]


def written(draws: Sequence[Drawn]) -> tuple[_Logs, _Logs]:
    """The logs of each group: with decisions logged twice, and the same offsets without the repeats."""
    log = Log()
    everything: _Logs = defaultdict(list)
    once: _Logs = defaultdict(list)
    seen = set()
    for draw in draws:
        group, role, spread, maker = _MAKERS[draw.maker]
        event = maker(draw.who, draw.number)
        partition = draw.partition if spread else draw.who % 2
        id = f"{draw.maker}-{draw.who}-{draw.number}-{partition}"
        for _ in range(draw.repeats + 1):
            timestamp = NOW // 1_000_000 + len(everything[group])
            logged = log.append(f"oddtide.{role}", event, partition=partition, id=id, timestamp=timestamp)
            everything[group].append(logged)
            if id not in seen:
                seen.add(id)
                once[group].append(logged)
    return everything, once


def delivered(log: Sequence[LoggedEvent], data: st.DataObject) -> Iterator[list[LoggedEvent]]:
    """The log in batches: partitions interleaved at random, their order kept, some batches twice."""
    partitions: dict[tuple[str, int], list[LoggedEvent]] = defaultdict(list)
    for event in log:
        partitions[(event.topic, event.partition)].append(event)
    batch: list[LoggedEvent] = []
    while partitions:
        place = data.draw(st.sampled_from(sorted(partitions)))
        batch += [partitions[place].pop(0) for _ in range(min(len(partitions[place]), data.draw(st.integers(1, 9))))]
        if not partitions[place]:
            del partitions[place]
        if data.draw(st.booleans()) or not partitions:
            yield batch
            if data.draw(st.booleans()):
                yield batch[len(batch) // 2 :]
            batch = []


def fold(models: SqlReadModels, group: str, batch: Sequence[LoggedEvent]) -> None:
    models.fold(group, batch, {(event.topic, event.partition): event.offset + 1 for event in batch})


def content(models: SqlReadModels, logs: _Logs, data: st.DataObject) -> list[str]:
    """The hashes after folding everything anew."""
    for group in GROUPS:
        models.reset(group)
        for batch in delivered(logs.get(group, ()), data):
            fold(models, group, batch)
    return [models.content_hash(group) for group in GROUPS]


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlReadModels]:
    folder: Path = tmp_path_factory.mktemp("laws")
    with SqlReadModels(f"sqlite:///{folder}/read.db", clock=lambda: NOW, channels=("webhook",), keep=4) as models:
        yield models


@settings(max_examples=60)
@given(draws=_draws, data=st.data())
def test_batches_interleaving_and_repeats_never_matter(
    sqlite: SqlReadModels, draws: list[Drawn], data: st.DataObject
) -> None:
    everything, once = written(draws)
    first = content(sqlite, everything, data)
    positions = [sqlite.positions(group) for group in GROUPS]
    assert content(sqlite, everything, data) == first
    assert [sqlite.positions(group) for group in GROUPS] == positions
    assert content(sqlite, once, data) == first


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(draws=_draws, data=st.data())
def test_every_database_comes_to_the_same_content(
    sqlite: SqlReadModels, postgres_url: str, draws: list[Drawn], data: st.DataObject
) -> None:
    everything, _ = written(draws)
    with SqlReadModels(postgres_url, clock=lambda: NOW, channels=("webhook",), keep=4) as postgres:
        assert content(postgres, everything, data) == content(sqlite, everything, data)
        notified = [models.notifications() for models in (postgres, sqlite)]
        assert content(postgres, everything, data) == content(sqlite, everything, data)
        assert [models.notifications() for models in (postgres, sqlite)] == notified
