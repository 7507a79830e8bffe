"""What training leaves behind: a model with all that scoring with it takes, as bytes."""

from __future__ import annotations

import importlib.metadata
import pickle
from dataclasses import dataclass
from typing import Any

import numpy as np

from oddtide.adapters.pyod.catalogue import ROW_INDEPENDENT, quiet
from oddtide.domain.errors import StateMismatchError, UntrustedArtifactError
from oddtide.domain.readings import FloatArray

__all__ = ["Artifact", "decide", "libraries", "pack", "standardised", "unpack"]

_FORMAT = 1
#: Standardised values beyond are taken as this: trees hold them as float32.
_FARTHEST = 1e6
_HUGE = 1e100


@dataclass(frozen=True, slots=True)
class Artifact:
    """``scores``: the scores of rows held out from training, ascending; ``rows``: how many were trained on;
    ``medians``, ``centre``, ``scale``: (d,), per feature."""

    algorithm: str
    rows: int
    features: tuple[str, ...]
    model: Any
    scores: FloatArray
    medians: FloatArray
    centre: FloatArray
    scale: FloatArray
    libraries: dict[str, str]

    def prepare(self, values: FloatArray) -> FloatArray:
        """(n, d) values as the model takes them: missing ones the training median, then standardised."""
        return standardised(values, self.medians, self.centre, self.scale)


def standardised(values: FloatArray, medians: FloatArray, centre: FloatArray, scale: FloatArray) -> FloatArray:
    """Missing values replaced by ``medians``, then in units of ``scale`` from ``centre``, within bounds."""
    known = np.clip(np.where(np.isnan(values), medians, values), -_HUGE, _HUGE)
    ready: FloatArray = np.clip((known - centre) / scale, -_FARTHEST, _FARTHEST)
    return ready


def decide(algorithm: str, model: Any, ready: FloatArray) -> FloatArray:
    """(n,) the model's scores of prepared rows, each as if it were alone; NaN where the model fails on a row."""
    if not len(ready):
        return np.empty(0)
    with quiet():
        if algorithm in ROW_INDEPENDENT:
            try:
                return np.asarray(model.decision_function(ready), dtype=np.float64)
            except Exception:  # some row is at fault: which one, the loop finds out
                pass
        return np.array([_decide_one(model, ready[i : i + 1]) for i in range(len(ready))])


def _decide_one(model: Any, row: FloatArray) -> float:
    try:
        return float(np.ravel(model.decision_function(row))[0])
    except Exception:  # a library's model: whatever it raises on odd values, no partition may stall on it
        return float("nan")


def libraries() -> dict[str, str]:
    """The versions that a pickled model depends on."""
    return {name: importlib.metadata.version(name) for name in ("numpy", "pyod", "scikit-learn")}


def pack(artifact: Artifact) -> bytes:
    """The artifact as bytes: a pickle, so to be signed where it is stored."""
    content = {name: getattr(artifact, name) for name in Artifact.__dataclass_fields__}
    return pickle.dumps({"format": _FORMAT, **content}, protocol=5)


def unpack(raw: bytes) -> Artifact:
    """The inverse of :func:`pack`. Unpickles: hand in only what was checked against its signature.

    Raises ``UntrustedArtifactError`` for bytes that are no artifact and ``StateMismatchError`` for one made with
    another version of a library: a model that loads by luck may score otherwise.
    """
    try:
        with quiet():
            content = pickle.loads(raw)
        if content.pop("format") != _FORMAT:
            raise ValueError("another format")
        artifact = Artifact(**content)
    except Exception as error:  # a pickle may raise anything
        raise UntrustedArtifactError(
            f"{len(raw)} bytes are no PyOD artifact: {type(error).__name__}: {error}.",
            remedy="Train the model again.",
        ) from None
    for name, here in libraries().items():
        made = artifact.libraries.get(name, "none")
        if made.split(".")[:2] != here.split(".")[:2]:
            raise StateMismatchError(
                f"The model was trained with {name} {made}; here is {here}.", remedy="Train the model again."
            )
    return artifact
