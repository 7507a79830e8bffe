"""What a detector is, to everything that is not one.

A detector keeps its state per *slot*: a small integer that stands for one series of one partition. It is
given columns of rows in log order; several rows may belong to the same slot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from oddtide.domain.readings import FloatArray, IntArray, LabelsColumn
from oddtide.domain.slots import SlotState

__all__ = ["Adoptable", "Detector", "DetectorSpec", "Pattern", "Recalls", "Rows", "Scores"]


@dataclass(frozen=True, slots=True)
class DetectorSpec:
    """A detector as a stream's declaration names it: ``ewma``, ``half_space_trees``, ``river:<Class>``,
    ``pyod:<Class>``, with its parameters. ``label`` tells two of the same kind apart."""

    kind: str
    parameters: Mapping[str, object] = field(default_factory=dict)
    label: str = ""

    @property
    def name(self) -> str:
        """The label, or the kind where there is none."""
        return self.label or self.kind


@dataclass(frozen=True, slots=True)
class Rows:
    """``n`` rows in log order: ``slots`` (n,), ``times`` (n,) ns, ``values`` (n, d). NaN marks a missing feature.
    ``labels`` are the readings' own, or None where none has any; nobody parses them but a detector that looks at them.
    """

    slots: IntArray
    times: IntArray
    values: FloatArray
    labels: LabelsColumn | None = None

    def __len__(self) -> int:
        return len(self.slots)

    def take(self, where: IntArray) -> Rows:
        """Those at the positions ``where``."""
        labels = self.labels.take(where) if self.labels is not None else None
        return Rows(self.slots[where], self.times[where], self.values[where], labels)


@dataclass(frozen=True, slots=True)
class Scores:
    """What a detector says of ``n`` rows.

    ``score``          (n,) finite, >= 0, higher is stranger, the detector's own scale; 0 while warming up
    ``p_value``        (n,) in (0, 1]: probability of a score at least this high if nothing is wrong;
                       1 while warming up
    ``contributions``  (n, d) finite, >= 0, each row sums to its score
    ``seen``           (n,) readings of the series learnt before this one; fewer than the warm-up for a detector that
                       has nothing to say of this row (it looks for seasons, and there is none), which isn't counted
    ``expected``, ``lower``, ``upper``  (n, d) or None where the method has none. NaN in a row means: none yet
    ``relevance``      (n,) in [0, 1]: how much the method has to say of this series, as far as it can tell (a search
                       for patterns where nothing comes back: 0); None: all it can. Only an ensemble looks at it
    """

    score: FloatArray
    p_value: FloatArray
    contributions: FloatArray
    seen: IntArray
    expected: FloatArray | None = None
    lower: FloatArray | None = None
    upper: FloatArray | None = None
    relevance: FloatArray | None = None


@runtime_checkable
class Detector(Protocol):
    """The port that every detector implements; its laws are ``tests/conformance/test_detector_laws.py``.

    Not guaranteed: thread safety, or equal bits across CPU types.
    """

    @property
    def warm_up(self) -> int:
        """Readings of a series to learn before its scores are valid."""
        ...

    @property
    def version(self) -> str:
        """Names algorithm, parameters and (for a trained one) the artifact; changes when verdicts could."""
        ...

    def grow(self, slots: int) -> None:
        """Make room for slots ``0 .. slots-1``. Existing state is kept; never shrinks."""
        ...

    def score(self, rows: Rows) -> Scores:
        """Score each row by what is known now. Changes nothing."""
        ...

    def learn(self, rows: Rows) -> None:
        """Learn the rows in order."""
        ...

    def advance(self, rows: Rows) -> Scores:
        """Row by row: score, then learn. Equal to the bit to ``score``/``learn`` called a row at a time,
        however the rows are cut into batches."""
        ...

    def forget(self, slots: IntArray) -> None:
        """Reset ``slots`` to those of series never seen (drift adaptation, series put to sleep)."""
        ...

    @property
    def bytes_per_slot(self) -> int:
        """Memory that the state of one slot takes; a guess where it is objects."""
        ...

    def extract(self, slots: IntArray) -> SlotState:
        """A copy of the state of ``slots``, in their order: what is inserted into any detector of the same spec, in
        any slots, gives the same future to the bit. State that isn't per slot (an adopted model) is not in it."""
        ...

    def insert(self, slots: IntArray, state: SlotState) -> None:
        """Replace the state of ``slots`` (for which there is room, each at most once) by an extracted one.

        Raises ``StateMismatchError`` for one that does not fit; nothing has changed then. Bytes in it may be pickles:
        hand in only what this program extracted, or what was checked against its signature.
        """
        ...


@runtime_checkable
class Adoptable(Protocol):
    """A detector whose model is trained elsewhere. Before it has one it is untrained: score 0, p-value 1, seen 0."""

    def adopt(self, artifact: bytes, version: str) -> None:
        """Put a model in force for every slot. Raises ``UntrustedArtifactError`` or ``StateMismatchError`` for bytes
        that are none, or one of other features; the model in force stays then.

        The bytes are unpickled: hand in only what was checked against its signature.
        """
        ...


@dataclass(frozen=True, slots=True)
class Pattern:
    """The nearest normal pattern to what a series does now, as a detector recalls it. ``now`` are the newest values of
    ``feature`` and ``nearest`` the earlier ones most like them, as many; each stands for ``step`` readings. ``nearest``
    ended ``ago`` readings before ``now`` did. ``distance`` is between them, in the detector's own scale."""

    feature: str
    now: tuple[float, ...]
    nearest: tuple[float, ...]
    ago: int
    step: int
    distance: float


@runtime_checkable
class Recalls(Protocol):
    """A detector that can show what it compares a reading with. Asked for on demand only: scoring pays nothing."""

    def recall(self, rows: Rows) -> list[Pattern | None]:
        """For each row by itself, by what is known now, the pattern that is nearest to how its series would go on with
        it; None where nothing is known yet. Changes nothing."""
        ...
