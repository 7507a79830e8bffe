"""Whether p-values hold what they promise: readings of which none is an anomaly, and the same with some that are.

Under a null a share ``alpha`` of the p-values should be at most ``alpha``. A million readings of 1,000 series in each
kind of null, half-hourly, from fixed seeds; those of the warm-up do not count. At 1e-5 some ten are expected, so that a
realised share between 4e-6 and 1.8e-5 is no evidence of anything (95 % of a Poisson count of ten lie within 4 and 17;
autocorrelated p-values come in clumps, and spread further). What is asked for: at most twice the nominal share down to
1e-4 and at most three times at 1e-5 on independent, autocorrelated and seasonal readings; less is caution, and costs
power, which is therefore measured beside it, by kind of injection.

A band of 95 % should hold 93 to 97 % of them; detectors that have a band are asked for that one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.quality.folding import Folded, banded, fold_batches, plan_of
from oddtide.config.facade.inputs import open_input
from oddtide.domain.readings import FloatArray
from oddtide.streams.codecs.decoded import Decoded

__all__ = [
    "ALPHAS", "BAND", "KINDS", "LENGTH", "NOMINAL", "POWERS", "SERIES", "Null", "NullResult", "autocorrelated",
    "measure_null",
]  # fmt: skip

ALPHAS = (1e-2, 1e-3, 1e-4, 1e-5)
#: The p-value at which power is measured.
NOMINAL = 1e-4
#: What is injected: one reading six standard deviations off; twenty moved by three; twenty with noise of three added.
POWERS = ("spike", "shift", "burst")
#: The band whose coverage is measured.
BAND = 0.95

#: Series, and readings of each that count.
SERIES, LENGTH = 1_000, 1_000
_BLOCK = 100
_COMPILES_ON = 200
_SIGMAS = 6.0
#: A shift, or a burst of noise, is half as large and lasts so long, at the end of so many series.
_LASTING, _SHIFTED = 20, 200
_START = np.datetime64("2024-01-01", "ns")
_STEP = np.timedelta64(30, "m")
_DAY = 48
_MEMORY = 0.9


@dataclass(frozen=True)
class Null:
    """``draw`` makes (rows, series) from a generator; ``sigma`` is the standard deviation of what is no season."""

    seed: int
    sigma: float
    draw: Callable[[np.random.Generator, int, int], FloatArray]


@dataclass(frozen=True)
class NullResult:
    """``realised``: the share of mature readings with a p-value of at most each of :data:`ALPHAS`; ``power``: by kind
    of injection the share of them, one a series, with one of at most :data:`NOMINAL`; ``coverage``: the share of
    readings inside a band of :data:`BAND`, of those that have a band (NaN: none has)."""

    realised: dict[float, float]
    power: dict[str, float]
    coverage: float
    readings: int
    mature: int
    seconds: float


def _independent(random: np.random.Generator, rows: int, series: int) -> FloatArray:
    return random.normal(size=(rows, series))


def autocorrelated(memory: float) -> Callable[[np.random.Generator, int, int], FloatArray]:
    """AR(1) from its stationary distribution, innovations of variance 1."""

    def draw(random: np.random.Generator, rows: int, series: int) -> FloatArray:
        noise = random.normal(size=(rows, series))
        noise[0] /= np.sqrt(1.0 - memory**2)
        for row in range(1, rows):
            noise[row] += memory * noise[row - 1]
        return noise

    return draw


def _seasonal(random: np.random.Generator, rows: int, series: int) -> FloatArray:
    """A daily sine of amplitude 3, each series at its own hour, and noise of variance 1."""
    phase = random.uniform(0.0, 2.0 * np.pi, size=series)
    day = 2.0 * np.pi * np.arange(rows)[:, None] / _DAY
    return 3.0 * np.sin(day + phase) + random.normal(size=(rows, series))


def _heavy_tailed(random: np.random.Generator, rows: int, series: int) -> FloatArray:
    """Student's t with three degrees of freedom."""
    return random.standard_t(3.0, size=(rows, series))


KINDS: dict[str, Null] = {
    "independent": Null(101, 1.0, _independent),
    "autocorrelated": Null(102, 1.0 / np.sqrt(1.0 - _MEMORY**2), autocorrelated(_MEMORY)),
    "seasonal": Null(103, 1.0, _seasonal),
    "heavy-tailed": Null(104, np.sqrt(3.0), _heavy_tailed),
}


def measure_null(detector: str, kind: str, series: int = SERIES) -> NullResult:
    """Fold one kind of null through the pipeline. One more reading of each series, the last, is six sigmas off, up or
    down: what it gets depends on the clean past alone, and it alters nothing that is counted. What earlier anomalies
    do to power, once they are learnt, isn't measured."""
    null = KINDS[kind]
    random = np.random.default_rng(null.seed)
    values = null.draw(random, LENGTH + 1, SERIES)
    spared = values[-1].copy()
    values[-1] += _SIGMAS * null.sigma * random.choice([-1.0, 1.0], size=SERIES)
    _fold(detector, values[:_COMPILES_ON, :1])
    mature, p_values, injected, inside, seconds = [], [], [], [], 0.0
    for block in _blocks(values[:, :series]):
        folded = _fold(detector, block)
        graded = folded.p_value.reshape(block.shape)
        mature.append(folded.mature.reshape(block.shape)[:-1].ravel())
        p_values.append(graded[:-1].ravel())
        injected.append(graded[-1])
        inside.append(folded.inside.reshape(block.shape)[:-1].ravel())
        seconds += folded.seconds
    counted = np.concatenate(p_values)[np.concatenate(mature)]
    realised = {alpha: float((counted <= alpha).mean()) if len(counted) else float("nan") for alpha in ALPHAS}
    power = {"spike": float((np.concatenate(injected) <= NOMINAL).mean())}
    values[-1] = spared
    for name in POWERS[1:]:
        power[name] = _lasting_power(detector, values[:, : min(series, _SHIFTED)], null, name)
    held = np.concatenate(inside)
    known = held[~np.isnan(held)]
    coverage = float(known.mean()) if len(known) else float("nan")
    return NullResult(realised, power, coverage, LENGTH * series, len(counted), seconds)


def _lasting_power(detector: str, values: FloatArray, null: Null, name: str) -> float:
    """The share of series in which an injection that lasts has a small p-value once at least."""
    random = np.random.default_rng(null.seed + 1_000)
    moved, tail = values.copy(), (_LASTING, values.shape[1])
    by = random.choice([-1.0, 1.0], size=tail[1]) if name == "shift" else random.normal(size=tail)
    moved[-_LASTING:] += 0.5 * _SIGMAS * null.sigma * by
    smallest = [_fold(detector, block).p_value.reshape(block.shape)[-_LASTING:].min(axis=0) for block in _blocks(moved)]
    return float((np.concatenate(smallest) <= NOMINAL).mean())


def _blocks(values: FloatArray) -> Iterator[FloatArray]:
    """A hundred series at a time, which bounds memory and alters nothing: no series knows of another."""
    for first in range(0, values.shape[1], _BLOCK):
        yield values[:, first : first + _BLOCK]


def _fold(detector: str, block: FloatArray) -> Folded:
    """A block of (rows, series), interleaved as they would arrive."""
    rows, series = block.shape
    names = np.array([f"null-{i:03d}" for i in range(series)])
    times = _START + np.arange(rows) * _STEP
    columns = {"timestamp": np.repeat(times, series), "series": np.tile(names, rows), "value": block.ravel()}
    opened = open_input(columns)
    plan = banded(plan_of(detector, opened.features), BAND)
    return fold_batches(plan, [b for b in opened.batches if isinstance(b, Decoded)])
