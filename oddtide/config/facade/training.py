"""Batch models: train one on history, detect with it, keep it in a signed file."""

from __future__ import annotations

import hashlib
import hmac
import time as clock
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import msgspec

from oddtide.config.facade.detecting import column_options, default_toolkit, detect_anomalies, run
from oddtide.config.facade.detections import Detections
from oddtide.config.facade.inputs import open_input
from oddtide.config.facade.plans import make_plan
from oddtide.config.facade.scorer import Scorer
from oddtide.domain.detection.ports import DetectorSpec
from oddtide.domain.detection.registry import known_detectors
from oddtide.domain.errors import NotFoundError, StorageUnavailableError, UntrustedArtifactError, UsageError
from oddtide.domain.observability.controls import ControlApplied
from oddtide.domain.readings import FloatArray

__all__ = ["TrainedModel", "train_model", "train_on"]

_MAGIC = b"oddtide-model-1\n"
_SIGNATURE = 32
_SHORTEST_KEY = 16


class _Card(msgspec.Struct, frozen=True, kw_only=True):
    """What a model file says before the artifact."""

    algorithm: str
    parameters: dict[str, Any]
    features: list[str]
    rows: int
    libraries: dict[str, str]
    metrics: dict[str, float]


@dataclass(frozen=True)
class TrainedModel:
    """A batch model trained on history. ``artifact`` is its content, ``libraries`` the versions it was made with."""

    algorithm: str
    parameters: Mapping[str, Any]
    features: tuple[str, ...]
    rows: int
    artifact: bytes = field(repr=False)
    libraries: Mapping[str, str]
    metrics: Mapping[str, float]

    @property
    def version(self) -> str:
        """16 hex digits of the artifact's digest."""
        return hashlib.blake2b(self.artifact, digest_size=8).hexdigest()

    def detect(
        self,
        data: Any,
        *,
        threshold: float | None = None,
        p_value: float = 1e-3,
        time: str = "",
        series: str = "",
        labels: Sequence[str] = (),
        name: str = "",
        all: bool = False,
    ) -> Detections:
        """Anomalies in ``data``, which has the model's features; arguments as :func:`detect_anomalies`.

        A trained model's p-values come from its training rows, so none is below one in that many: the default is
        wider here, and ``threshold`` (a score) goes beyond it.
        """
        options = column_options(time, series, "", () if self.features == ("value",) else self.features, labels, name)
        source = open_input(data, options)
        if source.features != self.features:
            raise UsageError(
                f"The data has the features {', '.join(source.features)}; the model knows {', '.join(self.features)}.",
                remedy="Give the columns that it was trained on.",
            )
        spec = DetectorSpec(f"pyod:{self.algorithm}", self.parameters)
        plan = make_plan(self.features, detector=spec, threshold=threshold, p_value=p_value)
        return run(source, plan, default_toolkit(), keep_all=all, before=self.put_in_force)

    def put_in_force(self, scorer: Scorer) -> None:
        """Let ``scorer``'s detector use this model from its next row on."""
        digest = hashlib.blake2b(self.artifact).hexdigest()
        name = scorer.plan.detectors[0].name
        control = ControlApplied(
            kind="model", offset=scorer.position, model=self.algorithm, version=1, digest=digest, detector=name
        )
        scorer.adopt(control, self.artifact)

    def save(self, path: str | Path, *, key: str | bytes) -> None:
        """Write the model, signed with ``key`` (at least 16 bytes). Whoever loads it needs the same key."""
        card = _Card(
            algorithm=self.algorithm,
            parameters=dict(self.parameters),
            features=list(self.features),
            rows=self.rows,
            libraries=dict(self.libraries),
            metrics=dict(self.metrics),
        )
        body = msgspec.msgpack.encode((card, self.artifact))
        try:
            Path(path).write_bytes(_MAGIC + _sign(body, key) + body)
        except OSError as error:
            problem = f"{path} cannot be written: {error.strerror}."
            raise StorageUnavailableError(problem, remedy="Check the folder.") from None

    @classmethod
    def load(cls, path: str | Path, *, key: str | bytes) -> Self:
        """Read a model that :meth:`save` wrote with the same ``key``.

        Raises ``NotFoundError``, or ``UntrustedArtifactError`` before a byte of it is unpickled when the signature is
        not this key's.
        """
        try:
            raw = Path(path).read_bytes()
        except FileNotFoundError:
            raise NotFoundError(f"There is no model file {path}.", remedy="Check the path.") from None
        except OSError as error:
            problem = f"{path} cannot be read: {error.strerror}."
            raise StorageUnavailableError(problem, remedy="Check its rights.") from None
        body = raw[len(_MAGIC) + _SIGNATURE :]
        if not raw.startswith(_MAGIC) or not hmac.compare_digest(raw[len(_MAGIC) :][:_SIGNATURE], _sign(body, key)):
            raise UntrustedArtifactError(
                f"{path} carries no signature of this key.", remedy="Use the key it was saved with, or train it again."
            )
        card, artifact = msgspec.msgpack.decode(body, type=tuple[_Card, bytes])
        return cls(
            card.algorithm, card.parameters, tuple(card.features), card.rows, artifact, card.libraries, card.metrics
        )


def train_model(
    data: Any,
    algorithm: str = "IForest",
    *,
    time: str = "",
    series: str = "",
    value: str = "",
    features: Sequence[str] = (),
    labels: Sequence[str] = (),
    **parameters: Any,
) -> TrainedModel:
    """Train PyOD's ``algorithm`` on the readings in ``data`` (any kind that :func:`detect_anomalies` takes);
    ``parameters`` go to PyOD. Rows that lack a feature are left out.

    Raises ``ConfigurationError`` for an algorithm or parameter that PyOD does not have, ``UsageError`` for too few rows
    or a detector that learns as it goes.
    """
    name = algorithm.removeprefix("pyod:")
    if algorithm in known_detectors() or algorithm.startswith("river:"):
        raise UsageError(f"{algorithm} learns as it goes.", remedy="Use it in detect_anomalies(); nothing is trained.")
    history = detect_anomalies(
        data, time=time, series=series, value=value, features=features, labels=labels, all=True, profile="light"
    )
    if not len(history):
        raise UsageError("There is no reading to train on.", remedy=f"Look at what was rejected: {history.tally}.")
    names = history.parts[0].origin.features
    values: list[FloatArray] = [part.readings.values for part in history.parts]
    return train_on(values, names, name, parameters)


def train_on(
    blocks: Sequence[FloatArray], features: tuple[str, ...], algorithm: str, parameters: Mapping[str, Any]
) -> TrainedModel:
    """Train on rows of values."""
    import numpy as np

    from oddtide.config.composition import Composition
    from oddtide.config.settings import Settings

    values = np.concatenate(blocks)
    values = values[np.isfinite(values).all(axis=1)]
    if len(values) < 2:
        raise UsageError(f"{len(values)} complete rows are too few to train on.", remedy="Give more history.")
    began = clock.perf_counter()
    artifact, libraries, metrics = Composition(Settings()).trainer()(algorithm, parameters, values, features)
    metrics = {**metrics, "seconds": round(clock.perf_counter() - began, 3)}
    return TrainedModel(algorithm, dict(parameters), features, len(values), artifact, libraries, metrics)


def _sign(body: bytes, key: str | bytes) -> bytes:
    secret = key.encode() if isinstance(key, str) else key
    if len(secret) < _SHORTEST_KEY:
        raise UsageError(f"The key has {len(secret)} bytes.", remedy=f"Give at least {_SHORTEST_KEY}.")
    return hmac.digest(secret, _MAGIC + body, "sha256")
