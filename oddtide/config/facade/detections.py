"""Verdicts as a Python programmer wants them: a sequence, and columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

import msgspec
import numpy as np
from numpy.typing import NDArray

from oddtide.adapters.files.rows import RefusedRow
from oddtide.config.facade.scorer import Tally
from oddtide.domain.detection.events import Verdict
from oddtide.domain.readings import FloatArray, IntArray
from oddtide.domain.statistics import surprise
from oddtide.streams.pipeline.verdicts import VerdictColumns

__all__ = ["COLUMNS", "Detections", "columns_of", "pick"]

#: The columns of a flat verdict, in order.
COLUMNS = (
    "id", "series", "time", "feature", "value", "score", "p_value", "own_score", "alarm_score", "is_anomaly",
    "expected", "lower", "upper", "maturity",
)  # fmt: skip
_SHOWN = 10


def pick(verdicts: VerdictColumns, index: IntArray) -> VerdictColumns:
    """The verdicts at ``index`` alone, sharing nothing with the rest."""
    scores = verdicts.scores

    def rows(block: FloatArray | None) -> FloatArray | None:
        return None if block is None else block[index]

    chosen = replace(
        scores,
        score=scores.score[index],
        p_value=scores.p_value[index],
        contributions=scores.contributions[index],
        seen=scores.seen[index],
        expected=rows(scores.expected),
        lower=rows(scores.lower),
        upper=rows(scores.upper),
    )
    return replace(
        verdicts,
        readings=verdicts.readings.take(index),
        scores=chosen,
        driver=verdicts.driver[index],
        needed=verdicts.needed[index],
        is_anomaly=verdicts.is_anomaly[index],
        alarm_p=rows(verdicts.alarm_p),
        shares=rows(verdicts.shares),
        levels=rows(verdicts.levels),
    )


def columns_of(verdicts: VerdictColumns) -> dict[str, Any]:
    """:data:`COLUMNS` as lists and arrays. Value, expected and band are those of the feature that contributes most;
    NaN means none."""
    rows = np.arange(len(verdicts))
    scores, readings = verdicts.scores, verdicts.readings
    main = scores.contributions.argmax(axis=1) if len(verdicts) else np.zeros(0, np.int64)
    absent = np.full(len(verdicts), np.nan)

    def of_main(block: FloatArray | None) -> FloatArray:
        return absent if block is None else block[rows, main]

    needed = np.maximum(verdicts.needed, 1)
    return {
        "id": [verdicts.id(i) for i in range(len(verdicts))],
        "series": list(readings.series),
        "time": readings.times.astype("datetime64[ns]"),
        "feature": [verdicts.origin.features[i] for i in main.tolist()],
        "value": of_main(readings.values),
        "score": surprise(scores.p_value),
        "p_value": scores.p_value,
        "own_score": scores.score,
        "alarm_score": np.array([verdicts.alarm_score(i) for i in range(len(verdicts))]),
        "is_anomaly": verdicts.is_anomaly,
        "expected": of_main(scores.expected),
        "lower": of_main(scores.lower),
        "upper": of_main(scores.upper),
        "maturity": np.where(verdicts.needed > 0, np.minimum(1.0, scores.seen / needed), 1.0),
    }


@dataclass(frozen=True, eq=False)
class Detections(Sequence[Verdict]):
    """Verdicts in input order: the anomalies, or with ``all`` every one. Iterating yields :class:`Verdict`, each with
    its reason; columns are arrays over all of them. ``rejected`` lists what could not be scored and why (``line`` is
    the file's line, or the row from 0); ``tally`` counts everything, so that nothing is missing in silence."""

    parts: tuple[VerdictColumns, ...]
    rejected: tuple[RefusedRow, ...]
    tally: Tally
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __iter__(self) -> Iterator[Verdict]:
        return (verdict for part in self.parts for verdict in part)

    @overload
    def __getitem__(self, index: int) -> Verdict: ...
    @overload
    def __getitem__(self, index: slice) -> list[Verdict]: ...
    def __getitem__(self, index: int | slice) -> Verdict | list[Verdict]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        place = index + len(self) if index < 0 else index
        for part in self.parts:
            if 0 <= place < len(part):
                return part.verdict(place)
            place -= len(part)
        raise IndexError(f"there are {len(self)} verdicts, not {index}")

    def column(self, name: str) -> Any:
        """One of :data:`COLUMNS` over all verdicts: an array, or a list of texts."""
        blocks = [columns_of(part)[name] for part in self.parts]
        if blocks and isinstance(blocks[0], list):
            return [text for block in blocks for text in block]
        return np.concatenate(blocks) if blocks else np.zeros(0)

    @property
    def rows(self) -> IntArray:
        """The row of the input each verdict is for, from 0."""
        every = [part.readings.offsets for part in self.parts]
        return np.concatenate(every) if every else np.zeros(0, np.int64)

    @property
    def series(self) -> list[str]:
        """Keys."""
        return list(self.column("series"))

    @property
    def time(self) -> NDArray[np.datetime64]:
        """Event times, UTC, to the nanosecond."""
        return np.asarray(self.column("time"), dtype="datetime64[ns]")

    @property
    def value(self) -> FloatArray:
        """Values of the feature that contributes most."""
        return self._numbers("value")

    @property
    def score(self) -> FloatArray:
        """Surprise, ``-log10`` of the p-value: comparable across series and detectors."""
        return self._numbers("score")

    @property
    def p_value(self) -> FloatArray:
        """Probability of a score at least this high if nothing is wrong."""
        return self._numbers("p_value")

    @property
    def is_anomaly(self) -> NDArray[np.bool_]:
        """Whether each crossed the threshold."""
        return np.asarray(self.column("is_anomaly"), dtype=np.bool_)

    def to_dict(self) -> dict[str, Any]:
        """All columns by name, ready for a data frame."""
        return {name: self.column(name) for name in COLUMNS}

    def to_dicts(self) -> list[dict[str, Any]]:
        """Every verdict in full as plain values."""
        return [msgspec.to_builtins(verdict) for verdict in self]

    def __str__(self) -> str:
        lines = [str(self.tally)]
        lines += [f"  {v.time}  {v.series}  {v.reason or v.score}" for v in self[:_SHOWN]]
        if len(self) > _SHOWN:
            lines.append(f"  … and {len(self) - _SHOWN:,} more")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<Detections: {self.tally}>"

    def _numbers(self, name: str) -> FloatArray:
        return np.asarray(self.column(name), dtype=np.float64)
