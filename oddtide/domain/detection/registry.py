"""From a detector's name in a stream's declaration to the detector."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from oddtide.domain.detection.auto import AUTO
from oddtide.domain.detection.ports import Detector, DetectorSpec
from oddtide.domain.detection.settings import nearest
from oddtide.domain.errors import ConfigurationError

__all__ = ["Build", "build_detector", "known_detectors"]

#: Makes a detector of (spec, features).
Build: TypeAlias = Callable[[DetectorSpec, tuple[str, ...]], Detector]


def _counts(spec: DetectorSpec, features: tuple[str, ...]) -> Detector:
    from oddtide.domain.detection.counts import Counts  # imported late: numba is slow to import

    return Counts.from_spec(spec, features)


def _discord(spec: DetectorSpec, features: tuple[str, ...]) -> Detector:
    from oddtide.domain.detection.discord import Discord  # imported late, likewise

    return Discord.from_spec(spec, features)


def _ewma(spec: DetectorSpec, features: tuple[str, ...]) -> Detector:
    from oddtide.domain.detection.ewma import Ewma  # imported late, likewise

    return Ewma.from_spec(spec, features)


def _half_space_trees(spec: DetectorSpec, features: tuple[str, ...]) -> Detector:
    from oddtide.domain.detection.half_space_trees import HalfSpaceTrees  # imported late, likewise

    return HalfSpaceTrees.from_spec(spec, features)


def _loda(spec: DetectorSpec, features: tuple[str, ...]) -> Detector:
    from oddtide.domain.detection.loda import Loda  # imported late, likewise

    return Loda.from_spec(spec, features)


def _mahalanobis(spec: DetectorSpec, features: tuple[str, ...]) -> Detector:
    from oddtide.domain.detection.mahalanobis import Mahalanobis  # imported late, likewise

    return Mahalanobis.from_spec(spec, features)


def _midas(spec: DetectorSpec, features: tuple[str, ...]) -> Detector:
    from oddtide.domain.detection.midas import Midas  # imported late, likewise

    return Midas.from_spec(spec, features)


def _neighbours(spec: DetectorSpec, features: tuple[str, ...]) -> Detector:
    from oddtide.domain.detection.neighbours import Neighbours  # imported late, likewise

    return Neighbours.from_spec(spec, features)


def _random_cut_forest(spec: DetectorSpec, features: tuple[str, ...]) -> Detector:
    from oddtide.domain.detection.random_cut_forest import RandomCutForest  # imported late, likewise

    return RandomCutForest.from_spec(spec, features)


def _seasonal(spec: DetectorSpec, features: tuple[str, ...]) -> Detector:
    from oddtide.domain.detection.seasonal import Seasonal  # imported late, likewise

    return Seasonal.from_spec(spec, features)


def _spot(spec: DetectorSpec, features: tuple[str, ...]) -> Detector:
    from oddtide.domain.detection.spot import Spot  # imported late, likewise

    return Spot.from_spec(spec, features)


def _range(spec: DetectorSpec, features: tuple[str, ...]) -> Detector:
    from oddtide.domain.detection.range_novelty import RangeNovelty  # imported late, likewise

    return RangeNovelty.from_spec(spec, features)


_BUILT_IN: Mapping[str, Build] = {
    "counts": _counts,
    "discord": _discord,
    "ewma": _ewma,
    "half_space_trees": _half_space_trees,
    "loda": _loda,
    "mahalanobis": _mahalanobis,
    "midas": _midas,
    "neighbours": _neighbours,
    "random_cut_forest": _random_cut_forest,
    "seasonal": _seasonal,
    "spot": _spot,
    "range": _range,
}


def known_detectors() -> tuple[str, ...]:
    """The detectors that need no adapter, sorted."""
    return tuple(sorted(_BUILT_IN))


def build_detector(spec: DetectorSpec, features: tuple[str, ...], *, families: Mapping[str, Build]) -> Detector:
    """The detector that ``spec`` names, over ``features`` (at least one), with room for no series yet.

    ``families`` makes those with a prefix: ``families["river"]`` gets ``river:HalfSpaceTrees``. Raises
    ``ConfigurationError`` for an unknown name or wrong parameters, with the nearest that is known.
    """
    if not features:
        raise ConfigurationError(f"Detector {spec.kind} has no features.", remedy="Declare at least one feature.")
    family, colon, _ = spec.kind.partition(":")
    build = families.get(family) if colon else _BUILT_IN.get(spec.kind)
    if build is None:
        if "+" in spec.kind:
            raise ConfigurationError(
                f"{spec.kind!r} is no detector: `+` combines detectors in `oddtide compare` only.",
                remedy="Name each of them by itself (--detector A --detector B): they are combined.",
            )
        known = [AUTO, *_BUILT_IN, *(f"{name}:<Class>" for name in families)]
        raise ConfigurationError(f"There is no detector {spec.kind!r}.", remedy=nearest(spec.kind, known))
    return build(spec, features)
