"""Edges of a graph: who talks to whom, and suddenly far more often than usual.

Each reading is an edge of a graph that never ends: a connection, a payment, a call. The series is the graph; its ends
are two labels of the reading (``source``, ``target``). A *microcluster* is many like edges within a short time: a port
scan, a denial of service, a card being emptied. ``midas`` counts every edge, every source and every target, within the
*tick* at hand and before, and asks whether there are too many (Bhatia, Hooi, Yoon, Shin, Faloutsos, "MIDAS:
Microcluster-Based Detector of Anomalies in Edge Streams", AAAI 2020: this is MIDAS-R, with sources and targets).
Graphs may have any number of nodes: counts lie in count-min sketches (``midas_sketch``), whose size is fixed.

*The score* of an edge is the largest of three chi-squared statistics, of the edge, its source and its target: with
``a`` in this tick and ``s`` in all ``t`` ticks, ``(a - s/t)**2 t / (s/t (t - 1))``, as in the paper. What is ours:

- *Only too many* are strange, or each tick would begin with an alarm for every busy node.
- *A floor* under the variance, one edge a tick. Without it an edge that was never there scores ``t - 1``, more in each
  tick, and most graphs have new edges all the time (``floor = 0`` is the paper's).
- *Late counts* fade by ``decay`` from tick to tick, so that a burst across a boundary is still one; as in MIDAS-R, but
  mean and variance are those of counts that fade, so that a busy node isn't strange all the time (0: no fading).
- *All counts* fade too, over ``memory`` ticks: what is usual may change.
- *Tamed*: of what scores beyond ``tame`` only the share ``tame / score`` counts in what is usual, so that an attack
  hardly becomes usual by going on, and not never either (for that MIDAS-F filters: Bhatia and others, TKDD 2022).

*P-value*: not by the chi-squared law, which holds for large counts and is wrong by orders of magnitude for rare edges,
but by the graph's own past scores (``calibration``): how often was an edge of this graph so strange? Measured on made
graphs, three times 230,000 to 360,000 edges: p-values of at most 1e-2, 1e-3 and 1e-4 come up 1.0, 1.1 and 1.2 times as
often as they should among 200 nodes of Zipf's popularity; 1.3, 1.5 and 2.0 times where traffic ebbs by nine tenths each
night; 1.3, 1.6 and 1.9 times where edges come in sessions of 3 on average (with ``floor = 0`` up to 4.8 times). 30
edges within 3 seconds, between known nodes or new ones, or from one source to 30 targets, came to less than 1e-6 in all
18 trials each on the first two graphs, 20 to 25 of the 30 edges. On the third, where sessions of 20 are ordinary,
they came to p-values of 8e-5 to 2e-6, the fan to 1e-3 to 3e-6: what happens is held against what is usual.

*Labels*: a reading that lacks one of the two says nothing (score 0, p-value 1, ``seen`` below the warm-up) and is not
learnt. ``warm_up`` and ``seen`` count edges. *Time* is event time; a late edge counts in the newest tick. *Values* do
not count: a reading has at least one feature, 1 say. What is strange about an edge's values is the business of the
detectors beside it; in an ensemble with them it has a view of its own, or shares that of ``discord``. Contributions are
shared evenly by the features that are there; without any, score 0 and p-value 1.

Not guaranteed: counts of a graph much larger than the sketches. Cells are shared, so counts are too high, never too
low; a burst must stand out from all edges of its cells, about ``1 / width`` of the graph's. Anything about silence, or
about slow changes; or about edges between usual nodes that merely have not met (one of them is no burst).

State per series: 99,356 bytes with the defaults: 96 for each cell of ``width``, 1,052 else; half of it by
``width = 512``. Cost: 1.4 microseconds an edge, 1.2 of them for reading labels (700,000 edges a second on one core with
one graph, 470,000 with 50; load 3), and 3 microseconds for each new tick, a pass over the sketches.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from oddtide.domain.detection.calibrated import Calibrated
from oddtide.domain.detection.calibration import MEMORY, Calibration
from oddtide.domain.detection.label_hashes import LabelHashes
from oddtide.domain.detection.midas_sketch import KINDS, cells_of, run_sketches
from oddtide.domain.detection.ports import DetectorSpec, Rows, Scores
from oddtide.domain.detection.settings import check_range, read_settings, version_of
from oddtide.domain.detection.slots import check_rows, columns, shared_out
from oddtide.domain.errors import ConfigurationError
from oddtide.domain.slots import SlotColumns

__all__ = ["Midas", "MidasSettings"]

_REVISION = 1
_SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class MidasSettings:
    """``source``, ``target``: the labels that name an edge's ends; ``tick``: seconds of event time that are counted
    together; ``decay``: for how much a tick counts as late when the next has begun; ``memory``: ticks over which
    ordinary counts are remembered (0: for ever); ``floor``: the least variance of a count; ``tame``: the score beyond
    which an edge counts for less in what is ordinary (0: never); ``depth``, ``width``: of each sketch; ``warm_up``:
    edges before scores are valid; ``seed``: of the hashes; ``calibration``: for how many scores the past counts."""

    source: str = "source"
    target: str = "target"
    tick: float = 60.0
    decay: float = 0.5
    memory: int = 1_440
    floor: float = 1.0
    tame: float = 100.0
    depth: int = 2
    width: int = 1_024
    warm_up: int = 500
    seed: int = 0
    calibration: int = MEMORY

    def __post_init__(self) -> None:
        if not self.source or not self.target or self.source == self.target:
            raise ConfigurationError(
                f"Parameters source and target are {self.source!r} and {self.target!r}.",
                remedy="Name two labels, those of an edge's two ends.",
            )
        check_range("tick", self.tick, 1e-3, 1e8)
        check_range("decay", self.decay, 0.0, 0.99)
        check_range("memory", self.memory, 2 if self.memory else 0, 1e9)
        check_range("floor", self.floor, 0.0, 1e6)
        check_range("tame", self.tame, 0.0, 1e12)
        check_range("depth", self.depth, 1, 16)
        check_range("width", self.width, 8, 1 << 20)
        check_range("warm_up", self.warm_up, 50, 1_000_000_000)
        check_range("seed", self.seed, 0, 2**63 - 1)


class Midas(Calibrated):
    """The detector ``midas``. Scores are chi-squared statistics. Deterministic but for the seed of its hashes."""

    def __init__(self, features: tuple[str, ...], settings: MidasSettings | None = None) -> None:
        self._features = features
        self._settings = chosen = settings or MidasSettings()
        self._version = version_of("midas", _REVISION, chosen, features)
        self._tick = round(chosen.tick * _SECOND)
        keep = 1.0 - 1.0 / chosen.memory if chosen.memory else 1.0
        self._options = chosen.decay, keep, chosen.floor, chosen.tame
        self._hashes = LabelHashes((chosen.source, chosen.target), chosen.seed)
        self._calibration = Calibration(chosen.calibration)
        blanks = {
            "counts": np.zeros((KINDS, chosen.depth, chosen.width, 2)),
            "clock": np.zeros(3, dtype=np.int64),
            "age": np.zeros(()),
        }
        self._columns = SlotColumns("midas", blanks)

    @classmethod
    def from_spec(cls, spec: DetectorSpec, features: tuple[str, ...]) -> Midas:
        """The detector that ``spec`` asks for. Raises ``ConfigurationError`` for parameters that it does not take."""
        return cls(features, read_settings(spec, MidasSettings))

    @property
    def warm_up(self) -> int:
        """Edges of a graph to learn before its scores are valid."""
        return self._settings.warm_up

    def _run(self, rows: Rows, *, learn: bool) -> Scores:
        check_rows(rows, len(self._columns), len(self._features))
        n, chosen, own = len(rows), self._settings, self._columns
        slots, values = columns(rows)
        ends, edges = self._hashes.of(rows.labels, n)
        cells, ticks = cells_of(ends, chosen.depth, chosen.width), np.asarray(rows.times // self._tick)
        found, seen = np.empty(n), np.empty(n, dtype=np.int64)
        state = own["counts"], own["clock"], own["age"]
        run_sketches(*state, slots, ticks, edges, cells, learn, self._options, np.empty(KINDS), found, seen)
        p_value = self._calibration.grade(slots, found, learn=learn)
        told = edges & (seen >= chosen.warm_up) & ~np.isnan(values).all(axis=1)
        score = np.where(told, found, 0.0)
        return Scores(
            score=score,
            p_value=np.where(told, p_value, 1.0),
            contributions=shared_out(score, np.zeros_like(values), values),
            seen=np.where(edges, seen, np.minimum(seen, chosen.warm_up - 1)),
        )
