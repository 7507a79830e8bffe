"""Any of PyOD's batch detectors in the stream: ``pyod:<Class>``.

Trained elsewhere (:mod:`~oddtide.adapters.pyod.training`) and adopted as an artifact, one model for all series of the
stream; until then untrained: score 0, p-value 1, seen 0. It learns nothing from what it scores. ``seen`` is the number
of rows that it was trained on.

Every row is scored against the training state alone, whatever rows come in beside it: one at a time, but for the few
detectors of which a test shows that rows do not touch one another's bits. The score is PyOD's, counted from the lowest
held-out score (never below 0); the p-value is conformal against the held-out scores, and beyond the largest of them on
a fitted tail (``oddtide.domain.detection.calibration``). Contributions: PyOD names none, so the score is shared
out by how far each feature lies from its training mean in its standard deviations: a description, not the model's
reasoning. A missing feature takes its training median and contributes 0; a reading without any scores 0, p-value 1.
"""

from __future__ import annotations

import numpy as np

from oddtide.adapters.pyod.artifact import Artifact, decide, unpack
from oddtide.adapters.pyod.catalogue import construct
from oddtide.domain.detection.ports import DetectorSpec, Rows, Scores
from oddtide.domain.detection.settings import version_of
from oddtide.domain.detection.slots import check_rows
from oddtide.domain.errors import StateMismatchError
from oddtide.domain.readings import FloatArray, IntArray
from oddtide.domain.slots import SlotState

__all__ = ["PyodDetector", "build"]

_REVISION = 2


def build(spec: DetectorSpec, features: tuple[str, ...]) -> PyodDetector:
    """The detector that ``spec`` (``pyod:<Class>``) asks for, untrained. Raises ``ConfigurationError``, or
    ``MissingExtraError`` for one whose packages are not installed."""
    return PyodDetector(spec, features)


class PyodDetector:
    """One trained model for every slot; see the module for what is guaranteed."""

    def __init__(self, spec: DetectorSpec, features: tuple[str, ...]) -> None:
        construct(spec.kind, spec.parameters)  # wrong names and parameters are refused now, not when training
        self._name, self._features = spec.kind.partition(":")[2], features
        self._base_version = version_of(spec.kind, _REVISION, spec.parameters, features)
        self._slots = 0
        self._model_version = ""
        self._artifact: Artifact | None = None

    @property
    def warm_up(self) -> int:
        """1: a model is there, or it is not."""
        return 1

    @property
    def version(self) -> str:
        """Algorithm, parameters, features, and which model is in force."""
        return f"{self._base_version}@{self._model_version or 'untrained'}"

    def adopt(self, artifact: bytes, version: str) -> None:
        """Put a model in force. Unpickles: hand in only what was checked against its signature.

        Raises ``UntrustedArtifactError`` for bytes that are no artifact, ``StateMismatchError`` for one of another
        algorithm, other features or other library versions; the model in force stays then.
        """
        found = unpack(artifact)
        if (found.algorithm, found.features) != (self._name, self._features):
            raise StateMismatchError(
                f"The model is a {found.algorithm} of {', '.join(found.features)}; this is {self._name} of"
                f" {', '.join(self._features)}.",
                remedy="Train one for this detector.",
            )
        self._artifact, self._model_version = found, version

    def grow(self, slots: int) -> None:
        """Make room for slots ``0 .. slots-1``; costs nothing."""
        self._slots = max(self._slots, slots)

    def score(self, rows: Rows) -> Scores:
        """Score each row by the model in force."""
        from oddtide.domain.detection.calibration import tail_p_values  # imported late: numba is slow to import

        n, d = len(rows), len(self._features)
        check_rows(rows, self._slots, d)
        score, p_value = np.zeros(n), np.ones(n)
        contributions, seen = np.zeros((n, d)), np.zeros(n, dtype=np.int64)
        if self._artifact is not None:
            seen[:] = self._artifact.rows
            judged = np.flatnonzero(~np.isnan(rows.values).all(axis=1))
            values = rows.values[judged]
            ready = self._artifact.prepare(values)
            decided = decide(self._name, self._artifact.model, ready)
            seen[judged[np.isnan(decided)]] = 0  # the model failed on it: as if there were none
            raw = _finite(decided, self._artifact.scores[0])
            p_value[judged] = tail_p_values(self._artifact.scores, raw)
            score[judged] = np.maximum(raw - self._artifact.scores[0], 0.0)
            contributions[judged] = score[judged, None] * _shares(ready, values)
        return Scores(score, p_value, contributions, seen)

    def learn(self, rows: Rows) -> None:
        """Nothing: it is trained in batch."""

    def advance(self, rows: Rows) -> Scores:
        """The same as :meth:`score`."""
        return self.score(rows)

    def forget(self, slots: IntArray) -> None:
        """Nothing: there is no state per series."""

    @property
    def bytes_per_slot(self) -> int:
        """0: the model is everybody's."""
        return 0

    def extract(self, slots: IntArray) -> SlotState:
        """Nothing: there is no state per series, and the model in force follows from the controls."""
        return {}

    def insert(self, slots: IntArray, state: SlotState) -> None:
        """Raises ``StateMismatchError`` for a state that is not empty."""
        if state:
            raise StateMismatchError(
                f"A state of {', '.join(sorted(state))} was given; pyod:{self._name} has none per series.",
                remedy="It was saved by another detector; start from an empty state.",
            )


def _finite(raw: FloatArray, lowest: float) -> FloatArray:
    """What is not finite becomes the lowest or highest score that is told apart."""
    finite: FloatArray = np.nan_to_num(raw, nan=lowest, posinf=1e300, neginf=lowest)
    return finite


def _shares(ready: FloatArray, values: FloatArray) -> FloatArray:
    """(n, d) weights that sum to 1 in each row, 0 for what is missing."""
    known = ~np.isnan(values)
    distance = np.where(known, np.abs(ready), 0.0)
    far = distance.sum(axis=1, keepdims=True) > 0.0
    weights = np.where(far, distance, known)
    shares: FloatArray = weights / weights.sum(axis=1, keepdims=True)
    return shares
