"""Edges on their way through the pipeline: labels come to the detector that looks at them, whatever the batches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import orjson
import pytest

from oddtide.domain.detection.ports import DetectorSpec
from oddtide.domain.observability.controls import ControlApplied, PlannedWindow
from oddtide.domain.readings import rfc3339
from oddtide.streams.codecs.decoded import Record
from tests.property.test_processor_laws import PLANS, T0, fold, processor, said

QUICK = DetectorSpec("midas", {"tick": 0.05, "width": 16, "warm_up": 50, "calibration": 64})


def log(n: int = 500) -> list[Record]:
    """A reading a millisecond; a burst of edges, and a step of the value that is a drift."""
    rng = np.random.default_rng(9)
    ends, noise = np.floor(6.0 * rng.random((n, 2)) ** 2).astype(int), rng.normal(size=n)
    ends[400:430] = 5, 4
    rows = [
        {
            "series": "xy"[i % 2],
            "time": T0 + i,
            "features": {"b": float(noise[i] + 40.0 * (i >= 330))},
            "labels": {"source": f"host {a}", "target": f"host {b}"},
        }
        for i, (a, b) in enumerate(ends.tolist())
    ]
    return [Record(i, T0, None, orjson.dumps(row)) for i, row in enumerate(rows)]


@pytest.mark.parametrize("detectors", [(QUICK,), (DetectorSpec("ewma", {"warm_up": 5}), QUICK)])
def test_batches_and_the_future_never_matter(detectors: tuple[DetectorSpec, ...]) -> None:
    """With a reset by drift in the midst of a batch, for which what follows is scored anew."""
    plan, records = replace(PLANS["deep"], detectors=detectors), log()
    whole, one = fold(plan, [records])
    parts, other = fold(plan, [records[:77], records[77:78], records[78:345], records[345:]])
    assert said(parts) == said(whole)
    assert one.hash == other.hash
    assert any(event.event.__class__.__name__ == "DetectorAdapted" for event in whole[0].events)
    past, _ = fold(plan, [records[:345]])
    assert said(past)["verdicts"] == said(whole)["verdicts"][:345]
    if len(detectors) == 1:
        assert min(verdict.p_value for verdict in whole[0].verdicts) < 0.05


def test_it_goes_on_from_a_saved_state_under_planned_work() -> None:
    plan, records = replace(PLANS["light"], contract=PLANS["deep"].contract, detectors=(QUICK,)), log()
    start, end = (rfc3339((T0 + ms) * 1_000_000) for ms in (200, 260))
    window = PlannedWindow(id="w", from_time=start, to_time=end, series=("x",))
    control = ControlApplied(kind="planned_work", offset=0, work=window)
    whole = processor(plan)
    whole.apply(control)
    first = processor(plan)
    first.apply(control)
    again = processor(plan)
    outcomes = [first.fold(records[:230])]
    again.resume(first.in_force, {})
    again.load(*first.save())
    again.start_at(first.position, first.hash)
    outcomes.append(again.fold(records[230:]))
    assert said(outcomes)["verdicts"] == said([whole.fold(records)])["verdicts"]
