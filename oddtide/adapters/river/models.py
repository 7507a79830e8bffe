"""Which of river's anomaly models there are, and what each needs to be fed and read.

river leaves three things to the caller: scaling, which of the features is the target, and what a score means. They
are settled here, one line a model.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from oddtide.domain.detection.ports import DetectorSpec
from oddtide.domain.detection.settings import check_names, check_range, nearest
from oddtide.domain.errors import ConfigurationError

__all__ = ["Blueprint", "available", "blueprint"]

#: What a model is fed: values brought to [0, 1], to mean 0 and variance 1, or as they are.
_SCALING = {"HalfSpaceTrees": "minmax", "LODA": "standard", "LocalOutlierFactor": "standard", "OneClassSVM": "standard"}
#: Scores in [0, 1] that crowd together below 1; they are calibrated as ``-log(1 - score)``.
_CROWDED = {"GaussianScorer", "HalfSpaceTrees"}
#: Scores that may be negative; they are shown as ``log(1 + exp(score))``, which keeps their order.
_SIGNED = {"LODA", "OneClassSVM"}
#: Models whose ``score_one`` changes these attributes.
_CHANGED_BY_SCORING = {"PredictiveAnomalyDetection": ("dynamic_mae", "dynamic_se_variance")}
#: The parameter of a model that says how many readings it needs.
_PATIENCE = {
    "GaussianScorer": "grace_period",
    "HalfSpaceTrees": "window_size",
    "PredictiveAnomalyDetection": "warmup_period",
}
_PATIENCE_DEFAULT = 50
_OURS = ("calibration", "scaling", "target", "warm_up")


def _classes() -> dict[str, type[Any]]:
    from river import anomaly, base  # imported late: river is slow to import

    found = {name: getattr(anomaly, name) for name in anomaly.__all__}
    filters = (anomaly.QuantileFilter, anomaly.ThresholdFilter)
    return {
        name: kind
        for name, kind in sorted(found.items())
        if inspect.isclass(kind) and issubclass(kind, base.Estimator) and not issubclass(kind, filters)
    }


def available() -> tuple[str, ...]:
    """The names that ``river:<name>`` takes: every model of ``river.anomaly`` but the filters, whose part (saying
    from which score on) the stream's threshold plays."""
    return tuple(_classes())


@dataclass(frozen=True)
class Blueprint:
    """How to make a river model and how to read it.

    ``target`` is the feature that a supervised model judges (None for the others); ``warm_up`` the readings that it
    learns before a score counts.
    """

    name: str
    parameters: Mapping[str, Any]
    scaling: str
    target: int | None
    warm_up: int
    calibration: int

    @property
    def crowded(self) -> bool:
        """Whether scores crowd together below 1."""
        return self.name in _CROWDED

    @property
    def signed(self) -> bool:
        """Whether scores may be negative."""
        return self.name in _SIGNED

    @property
    def changed_by_scoring(self) -> tuple[str, ...]:
        """The attributes that scoring changes."""
        return _CHANGED_BY_SCORING.get(self.name, ())

    def make(self) -> Any:
        """A model that has seen nothing."""
        from river import compose, preprocessing  # imported late, likewise

        model = _classes()[self.name](**self.parameters)
        if self.scaling == "minmax":
            return compose.Pipeline(preprocessing.MinMaxScaler(), model)
        if self.scaling == "standard":
            return compose.Pipeline(preprocessing.StandardScaler(), model)
        return model

    def tried(self) -> Any:
        """A model that has learnt two readings. Raises whatever river raises."""
        model = self.make()
        for value in (0.25, 0.75):
            if self.target is None:
                model.learn_one({"x": value})
            else:
                model.learn_one({}, value)
        return model

    @cached_property
    def kind(self) -> type[Any]:
        """The class of what :meth:`make` makes."""
        return type(self.make())


def blueprint(spec: DetectorSpec, features: tuple[str, ...]) -> Blueprint:
    """What ``spec`` asks for. Raises ``ConfigurationError`` for a name or a parameter that river does not know."""
    name = spec.kind.partition(":")[2]
    classes = _classes()
    if name not in classes:
        raise ConfigurationError(f"river has no anomaly model {name!r}.", remedy=nearest(name, classes))
    signature = inspect.signature(classes[name].__init__).parameters
    known = [each for each in signature if each != "self"]
    check_names(spec.kind, spec.parameters, [*known, *_OURS])
    parameters = {key: value for key, value in spec.parameters.items() if key not in _OURS}
    if "seed" in known:
        parameters.setdefault("seed", 1)  # river's default is to draw one: no verdict could be repeated
    own = _PATIENCE.get(name, "")
    patience = parameters.get(own, signature[own].default) if own else 0
    least = max(patience, _PATIENCE_DEFAULT) if isinstance(patience, int) else _PATIENCE_DEFAULT
    supervised = "y" in inspect.signature(classes[name].score_one).parameters
    plan = Blueprint(
        name=name,
        parameters=parameters,
        scaling=_choice(spec, "scaling", _SCALING.get(name, "none"), ("minmax", "none", "standard")),
        target=features.index(_choice(spec, "target", features[0], features)) if supervised else None,
        warm_up=_whole(spec, "warm_up", least, 1),
        calibration=_whole(spec, "calibration", 32_768, 64),
    )
    _try(spec, plan)
    return plan


def _choice(spec: DetectorSpec, name: str, default: str, known: tuple[str, ...]) -> str:
    value = spec.parameters.get(name, default)
    if value not in known:
        remedy = nearest(str(value), known)
        raise ConfigurationError(f"Parameter {name} of detector {spec.kind} is {value!r}.", remedy=remedy)
    return str(value)


def _whole(spec: DetectorSpec, name: str, default: int, least: int) -> int:
    value = spec.parameters.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool):
        remedy = "It takes a whole number."
        raise ConfigurationError(f"Parameter {name} of detector {spec.kind} is {value!r}.", remedy=remedy)
    check_range(name, value, least, 1_000_000)
    return value


def _try(spec: DetectorSpec, plan: Blueprint) -> None:
    """Make one and have it learn: river checks little in its constructors."""
    try:
        plan.tried()
    except Exception as error:  # whatever river raises: the configuration is at fault
        problem = f"{spec.kind} refuses {dict(spec.parameters)!r}: {error}."
        remedy = f"See river.anomaly.{plan.name} for what its parameters take."
        raise ConfigurationError(problem, remedy=remedy) from None
