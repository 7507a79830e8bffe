"""Validation: each reading against its stream's contract."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.quality.contract import Action, Contract, FeatureRule, OrderPolicy
from oddtide.domain.quality.events import ContractViolated
from oddtide.domain.quality.ids import violation_id
from oddtide.domain.quality.reasons import Reason
from oddtide.domain.readings import IntArray, Readings, rfc3339
from oddtide.domain.slots import InColumns, SlotColumns

__all__ = ["Checked", "Validator"]

BoolArray: TypeAlias = NDArray[np.bool_]

_SEVERITY: dict[str, int] = {"report": 0, "skip": 1, "reject": 2}
_INT64 = np.iinfo(np.int64)
_SECOND = 10**9


@dataclass(slots=True)
class Checked:
    """The outcome of checking ``n`` readings: each is kept, or in exactly one of ``refusals`` and ``skips``.

    ``keep``        (n,) mask of those to score
    ``refusals``    (row, reason, detail), ascending by row
    ``skips``       (row, reason), ascending by row
    ``violations``  every rule broken by a reading that the rules before it had not refused, also where only reported
    """

    keep: BoolArray
    refusals: list[tuple[int, str, str]] = field(default_factory=list)
    skips: list[tuple[int, str]] = field(default_factory=list)
    violations: list[ContractViolated] = field(default_factory=list)


@dataclass(slots=True)
class _Breach:
    """One rule broken by one row."""

    row: int
    reason: Reason
    action: Action
    detail: str
    feature: str = ""
    value: float | None = None


class Validator(InColumns):
    """Checks the readings of one partition, in order: sane time, order and duplicates, ranges.

    Guaranteed: however the readings are cut into batches, the outcomes are the same as row by row. A reading's outcome
    is that of the first rule that refuses or skips it, where for ranges a refusal goes before a skip. Only readings
    that are kept count as their series' newest. The time is judged against the record's timestamp, never a clock; a
    record without timestamp (negative) is not judged. Clean rows cost a few array passes; only breaches are looped
    over.
    """

    def __init__(self, contract: Contract, stream: str, topic: str, partition: int) -> None:
        from oddtide.domain.quality import kernels  # numba is heavy; see the module

        self._contract = contract
        self._where = (stream, topic, partition)
        self._kernels = kernels
        self._age = _nanoseconds(contract.max_age_s)
        self._ahead = _nanoseconds(contract.max_ahead_s)
        self._columns = SlotColumns("the validator", {"newest": np.array(kernels.NEVER)})

    def check(self, readings: Readings, slots: IntArray) -> Checked:
        """Check ``readings``; ``slots`` (n,) stand for their series."""
        self.grow(int(slots.max()) + 1 if len(slots) else 0)
        old, new = self._insane(readings)
        sane = ~(old | new)
        breaches: list[_Breach] = []
        barred = self._ranges(readings, breaches)
        contract = self._contract
        codes = np.empty(len(readings), dtype=np.int8)
        disorder = self._kernels.order_pass(
            np.ascontiguousarray(slots, dtype=np.int64),
            np.ascontiguousarray(readings.times, dtype=np.int64),
            sane,
            ~barred,
            contract.order == "accept",
            contract.duplicates == "accept",
            self._columns["newest"],
            codes,
        )
        if not disorder and not breaches and sane.all():
            return Checked(keep=np.ones(len(readings), dtype=np.bool_))
        return self._outcomes(readings, breaches, self._early(readings, old, new, codes))

    def newest(self, slot: int) -> int | None:
        """The newest time kept of a slot, nanoseconds; None before the first."""
        newest = self._columns["newest"]
        if slot >= len(newest) or newest[slot] == self._kernels.NEVER:
            return None
        return int(newest[slot])

    def _insane(self, readings: Readings) -> tuple[BoolArray, BoolArray]:
        """Which times are too old and which too new; computed so that nothing overflows."""
        arrivals = readings.arrivals
        judged = arrivals >= 0
        lowest = np.maximum(arrivals, _INT64.min + self._age) - self._age
        highest = np.minimum(arrivals, _INT64.max - self._ahead) + self._ahead
        return judged & (readings.times < lowest), judged & (readings.times > highest)

    def _ranges(self, readings: Readings, breaches: list[_Breach]) -> BoolArray:
        """Collect the features out of range; returns which rows are not kept because of that."""
        barred = np.zeros(len(readings), dtype=np.bool_)
        for place, rule in enumerate(self._contract.features):
            column = readings.values[:, place]
            outside = np.zeros(len(readings), dtype=np.bool_)
            if rule.minimum is not None:
                outside |= column < rule.minimum
            if rule.maximum is not None:
                outside |= column > rule.maximum
            if rule.on_range != "report":
                barred |= outside
            rows = np.flatnonzero(outside).tolist()
            breaches += [_out_of_range(row, rule, float(column[row])) for row in rows]
        return barred

    def _early(self, readings: Readings, old: BoolArray, new: BoolArray, codes: NDArray[np.int8]) -> dict[int, _Breach]:
        """The breaches of the rules before the ranges: at most one a row."""
        found = {}
        for row in np.flatnonzero(old | new).tolist():
            limit, side, reason = (
                (self._contract.max_age_s, "before", Reason.TIME_TOO_OLD)
                if old[row]
                else (self._contract.max_ahead_s, "after", Reason.TIME_TOO_NEW)
            )
            away = abs(int(readings.times[row]) - int(readings.arrivals[row])) / _SECOND
            detail = f"{rfc3339(int(readings.times[row]))} is {away:.0f} s {side} the record's timestamp;"
            found[row] = _Breach(row, reason, "reject", f"{detail} the contract allows {limit:.0f} s")
        policies: dict[int, tuple[OrderPolicy, Reason, str]] = {
            int(self._kernels.IS_LATE): (self._contract.order, Reason.LATE, "is before the series' newest"),
            int(self._kernels.IS_DUPLICATE): (self._contract.duplicates, Reason.DUPLICATE, "is the series' newest"),
        }
        for row in np.flatnonzero(codes).tolist():
            policy, reason, says = policies[int(codes[row])]
            if policy != "accept":
                found[row] = _Breach(row, reason, policy, f"{rfc3339(int(readings.times[row]))} {says}")
        return found

    def _outcomes(self, readings: Readings, ranges: list[_Breach], early: dict[int, _Breach]) -> Checked:
        checked = Checked(keep=np.ones(len(readings), dtype=np.bool_))
        broken = list(early.values()) + [breach for breach in ranges if breach.row not in early]
        worst: dict[int, _Breach] = {}
        for breach in sorted(broken, key=lambda each: each.row):
            first = worst.setdefault(breach.row, breach)
            if _SEVERITY[breach.action] > _SEVERITY[first.action]:
                worst[breach.row] = breach
            checked.violations.append(self._violation(readings, breach))
        for row, breach in worst.items():
            if breach.action == "report":
                continue
            checked.keep[row] = False
            if breach.action == "reject":
                checked.refusals.append((row, breach.reason.value, breach.detail))
            else:
                checked.skips.append((row, breach.reason.value))
        return checked

    def _violation(self, readings: Readings, breach: _Breach) -> ContractViolated:
        stream, topic, partition = self._where
        offset, row = int(readings.offsets[breach.row]), int(readings.rows[breach.row])
        return ContractViolated(
            id=violation_id(stream, topic, partition, offset, row, breach.reason.value, breach.feature),
            stream=stream,
            series=readings.series[breach.row],
            rule=breach.reason.value,
            detail=breach.detail,
            action=breach.action,
            time=rfc3339(int(readings.times[breach.row])),
            feature=breach.feature,
            value=breach.value,
            topic=topic,
            partition=partition,
            offset=offset,
            row=row,
        )


def _nanoseconds(seconds: float) -> int:
    """A duration, capped well within 64 bits (146 years)."""
    return min(int(seconds * _SECOND) if seconds < 2**33 else 2**62, 2**62)


def _out_of_range(row: int, rule: FeatureRule, value: float) -> _Breach:
    side, limit = (
        ("below", rule.minimum) if rule.minimum is not None and value < rule.minimum else ("above", rule.maximum)
    )
    detail = f"{rule.name} {value:.12g} is {side} {limit:.12g}"
    return _Breach(row, Reason.OUT_OF_RANGE, rule.on_range, detail, rule.name, value)
