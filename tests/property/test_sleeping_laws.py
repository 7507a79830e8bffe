"""The law of sleeping series: whatever the memory, the batches and the crashes, the verdicts are the same."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oddtide.adapters.memory import MemorySleepStores
from oddtide.adapters.river.detectors import build
from oddtide.adapters.rocksdb import RocksSleepStores
from oddtide.domain.detection.ports import DetectorSpec
from oddtide.domain.detection.registry import build_detector
from oddtide.domain.drift.policy import DriftPolicy
from oddtide.domain.errors import StateMismatchError, StorageUnavailableError
from oddtide.domain.observability.controls import ControlApplied
from oddtide.streams.codecs.decoded import Record
from oddtide.streams.pipeline.outcome import Outcome
from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.pipeline.processor import PartitionProcessor
from oddtide.streams.pipeline.sleeping import NAME_BYTES, MemoryBudget, Sleepers, Sleeping
from oddtide.streams.ports import SleepStore, SleepStores, Toolkit
from tests.property.test_processor_laws import PLANS, TOOLKIT, cuts, said

T0 = 1_700_000_000_000


def processor(plan: StreamPlan, stores: SleepStores | None, awake: int, kit: Toolkit = TOOLKIT) -> PartitionProcessor:
    """One whose budget is ``awake`` series."""
    sleeping = None
    if stores is not None:
        cost = PartitionProcessor(plan, kit, application="app", partition=1).bytes_per_slot + NAME_BYTES
        sleeping = Sleeping(stores, MemoryBudget(awake * cost))
    return PartitionProcessor(plan, kit, application="app", partition=1, sleeping=sleeping)


def sleepers(subject: PartitionProcessor) -> Sleepers:
    assert subject.sleepers is not None
    return subject.sleepers


def limit(subject: PartitionProcessor) -> int:
    return sleepers(subject).limit(subject)


def everything(outcomes: Sequence[Outcome]) -> list[Any]:
    """What each batch says, its ledger record included."""
    return [(said([outcome]), msgspec.json.encode(outcome.completed)) for outcome in outcomes]


def crashed(subject: PartitionProcessor, other: PartitionProcessor, folder: Path) -> PartitionProcessor:
    """``other`` goes on from a snapshot of ``subject``, in a new process."""
    index = subject._series
    used = index.used()
    files, held = sleepers(subject).checkpoint(folder), subject.series
    state, names = subject.extract(used), index.names(used).packed()
    subject.close()
    other.insert(other._series.put(names), state)
    if files:
        sleepers(other).restore(folder)
        shutil.rmtree(folder)
    other.start_at(subject.position, subject.hash)
    assert other.series == held
    return other


@st.composite
def logs(draw: st.DrawFn, kind: str) -> list[Record]:
    """Readings of few or many series, and some that no contract takes."""
    names = draw(st.sampled_from([["a", "b"], [f"pump-{number}" for number in range(12)], ["\u00e9" * 30, "b", "c"]]))
    series = st.sampled_from(names)
    numbers = st.floats(-70, 70, width=32) | st.sampled_from([0.0, 1.0, 60.0])
    records = []
    for offset in range(draw(st.integers(1, 50))):
        a, b = draw(numbers), draw(numbers)
        features = {"features": {"a": a, "b": b}} if kind == "deep" else {"value": a}
        reading = {"series": draw(series), "time": T0 + draw(st.integers(0, 40)), **features}
        records.append(Record(offset, T0, None, orjson.dumps(reading) if draw(st.integers(0, 9)) else b"{"))
    return records


@pytest.mark.parametrize("kind", ["light", "deep"])
@given(data=st.data(), awake=st.integers(0, 6))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_verdicts_are_those_of_unlimited_memory(kind: str, data: st.DataObject, awake: int, tmp_path: Path) -> None:
    plan, stores = PLANS[kind], MemorySleepStores()
    batches = [batch for batch in cuts(data.draw, data.draw(logs(kind))) if batch]
    unlimited, bounded = processor(plan, None, 0), processor(plan, stores, awake)
    for number, batch in enumerate(batches):
        expected = everything([unlimited.fold(batch)])
        if data.draw(st.booleans()):
            bounded = crashed(bounded, processor(plan, stores, awake), tmp_path / str(number))
        assert everything([bounded.fold(batch)]) == expected
        for name in ("hash", "position", "series"):
            assert getattr(bounded, name) == getattr(unlimited, name)
        assert bounded.memory.awake <= max(awake, 1)
    bounded.close()


def readings(series: Sequence[str], start: int = 0) -> list[Record]:
    random = np.random.default_rng(start)
    rows = [{"series": name, "time": T0 + start + i, "value": random.normal()} for i, name in enumerate(series)]
    return [Record(start + i, T0, None, orjson.dumps(row)) for i, row in enumerate(rows)]


def batches(series: int, count: int, size: int) -> list[list[Record]]:
    random = np.random.default_rng(1)
    return [
        readings([f"s{number}" for number in random.integers(0, series, size)], start=each * size)
        for each in range(count)
    ]


RIVER = StreamPlan(
    "s", "t", detectors=(DetectorSpec("river:HalfSpaceTrees", {"n_trees": 2, "height": 3, "window_size": 20}),),
    drift=DriftPolicy(), profile="deep",
)  # fmt: skip
RIVER_KIT = Toolkit(lambda spec, features: build_detector(spec, features, families={"river": build}), TOOLKIT.monitors)


@pytest.mark.parametrize("plan", [PLANS["light"], RIVER], ids=["arrays", "objects"])
def test_the_law_holds_over_rocksdb(plan: StreamPlan, tmp_path: Path) -> None:
    stores = RocksSleepStores(tmp_path / "sleeping")
    unlimited, bounded = processor(plan, None, 0, RIVER_KIT), processor(plan, stores, 20, RIVER_KIT)
    for number, batch in enumerate(batches(60, 12, 150)):
        if number % 4 == 3:
            bounded = crashed(bounded, processor(plan, stores, 20, RIVER_KIT), tmp_path / "checkpoint")
        assert everything([bounded.fold(batch)]) == everything([unlimited.fold(batch)])
        assert bounded.series == unlimited.series
    use = bounded.memory
    assert use.awake <= 20
    assert use.asleep == unlimited.series - use.awake > 0
    assert use.woken > 0
    bounded.close()
    assert bounded.memory.asleep == 0


EWMA = PLANS["light"].detectors
VERSIONS = [replace(PLANS["light"], detectors=d) for d in (EWMA, (*EWMA, *PLANS["deep"].detectors[1:]))]
VERSIONS.append(replace(PLANS["light"], detectors=(DetectorSpec("ewma", {"warm_up": 9}),)))


@given(data=st.data())
@settings(max_examples=60)
def test_the_law_holds_where_controls_take_effect_while_series_sleep(data: st.DataObject) -> None:
    unlimited, bounded = processor(VERSIONS[0], None, 0), processor(VERSIONS[0], MemorySleepStores(), 2)
    for batch in cuts(data.draw, data.draw(logs("light"))):
        if not batch:
            continue
        control, plan = None, None
        match data.draw(st.sampled_from(["none", "pipeline", "feedback"])):
            case "pipeline":
                plan = data.draw(st.sampled_from(VERSIONS))
                kept = tuple(unlimited.plan.kept_by(plan))
                control = ControlApplied(kind="pipeline", offset=batch[0].offset, pipeline=plan.version, kept=kept)
            case "feedback":
                series = data.draw(st.sampled_from(["a", "b", "pump-3", "pump-7", "nobody"]))
                control = ControlApplied(kind="feedback", offset=batch[0].offset, series=series, feedback="f")
        if control is not None:
            for subject in (unlimited, bounded):
                subject.apply(control, plan=plan)
        assert everything([bounded.fold(batch)]) == everything([unlimited.fold(batch)])
        assert bounded.series == unlimited.series
    bounded.close()


class Broken:
    """A store whose disk is full, or gone."""

    def __init__(self, inner: SleepStore, faults: set[str]) -> None:
        self._inner, self._faults = inner, faults

    def put(self, keys: Sequence[bytes], rows: Sequence[bytes]) -> None:
        self._try("put")
        self._inner.put(keys, rows)

    def get(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        self._try("get")
        return [b"?" if row and "rot" in self._faults else row for row in self._inner.get(keys)]

    def checkpoint(self, folder: Path) -> list[Path]:
        return self._inner.checkpoint(folder)

    def close(self) -> None:
        self._inner.close()

    def _try(self, what: str) -> None:
        if what in self._faults:
            raise StorageUnavailableError(f"no {what}", remedy="Make room.")


class BrokenStores:
    def __init__(self, faults: set[str]) -> None:
        self.faults = faults

    def open(self, name: str, source: Path | None = None) -> SleepStore:
        return Broken(MemorySleepStores().open(name, source), self.faults)


def test_where_the_disk_is_full_series_stay_awake_and_it_is_said() -> None:
    stores = BrokenStores({"put"})
    unlimited, bounded = processor(PLANS["light"], None, 0), processor(PLANS["light"], stores, 3)
    log = batches(20, 120, 5)
    for batch in log[:10]:
        assert everything([bounded.fold(batch)]) == everything([unlimited.fold(batch)])
    assert bounded.memory.awake == unlimited.series
    assert "no put" in bounded.memory.trouble
    stores.faults.clear()
    for batch in log[10:]:  # it is tried again after a while
        assert everything([bounded.fold(batch)]) == everything([unlimited.fold(batch)])
    assert bounded.memory.awake <= 3
    assert bounded.memory.trouble == ""


@pytest.mark.parametrize(("fault", "error"), [("get", StorageUnavailableError), ("rot", StateMismatchError)])
def test_nothing_goes_on_without_the_state_of_a_series(fault: str, error: type[Exception]) -> None:
    stores = BrokenStores(set())
    unlimited, bounded = processor(PLANS["light"], None, 0), processor(PLANS["light"], stores, 2)
    first, then = readings([f"s{i}" for i in range(9)]), readings([f"s{i}" for i in range(9)], start=9)
    for subject in (unlimited, bounded):
        subject.fold(first)
    stores.faults.add(fault)
    for _ in range(2):
        with pytest.raises(error):
            bounded.fold(then)
        assert (bounded.position, bounded.series) == (9, 9)
    stores.faults.clear()
    assert everything([bounded.fold(then)]) == everything([unlimited.fold(then)])


def test_the_budget_is_shared_by_those_who_hold_partitions() -> None:
    stores, plan = MemorySleepStores(), PLANS["light"]
    cost = processor(plan, None, 0).memory.bytes_per_series
    sleeping = Sleeping(stores, MemoryBudget(1_000 * cost))
    one = PartitionProcessor(plan, TOOLKIT, application="app", partition=0, sleeping=sleeping)
    assert limit(one) == 1_000
    other = PartitionProcessor(plan, TOOLKIT, application="app", partition=1, sleeping=sleeping)
    assert limit(one) == limit(other) == 500
    other.close()
    assert limit(one) == 1_000


def test_nothing_is_looked_up_while_nobody_sleeps() -> None:
    subject = processor(PLANS["light"], BrokenStores({"put", "get"}), 1_000)
    for batch in batches(400, 4, 400):
        subject.fold(batch)
    assert subject.memory.trouble == ""
    assert sleepers(subject).checkpoint(Path("/nowhere")) == []


def test_a_folder_without_sleepers_is_refused(tmp_path: Path) -> None:
    subject = processor(PLANS["light"], MemorySleepStores(), 2)
    with pytest.raises(StorageUnavailableError, match="checkpoint"):
        sleepers(subject).restore(tmp_path)
