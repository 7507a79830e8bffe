"""``auto``: the detectors of a stream of which nothing is known but its features.

It is no detector but a choice among them, made when a stream's plan is made, so that the published plan names what
watches the stream, and a later release that chooses otherwise is a change of the plan like any other. Only the number
of features is looked at here. What the data is like (does it have seasons, is it a counter, do its rows hang together
in time) each detector finds out for itself, series by series, and one that has nothing to say of a series stays out of
the verdict (see ``ensemble``).

One value: three ways to find a number strange that fail on different series (the distance from a moving mean, records
of all time, records of the newest 500 to 1,000 readings), and one to find a shape strange. Each is worth its bytes:
without any one of them NAB's score, or UCR's accuracy, is lower. A fourth of the first sort, ``spot``, changed neither.
The history of shapes is as long as lets a series' whole state, the ensemble's past included, stay below 8 KiB.

Several values: one of two speaks of each series. Where readings hang together in time (``order``) it is
``mahalanobis``: smoothed, against a frozen reference, with an eye on single readings; faults that last stay strange.
Where they do not, and before the 96th reading, it is ``neighbours``: distance to a sample of the past. Detectors that
were added to either (``loda``, ``ewma``, histograms and tails of each feature) cost more on one kind of data than they
gained on the other: averaged in, noise of those that see nothing hides what one sees.

Beside them: what is beyond everything in one feature is strange enough, but the distance to past readings is bounded,
and a p-value by a series' own past is cautious: ``far_out`` speaks of such readings, and of no others. It costs a
hundredth or two of average precision on ADBench's tables, some of whose features are wild; missing a sensor that is
thirty standard deviations off would cost more.
"""

from __future__ import annotations

from collections.abc import Sequence

from oddtide.domain.detection.ports import DetectorSpec
from oddtide.domain.errors import ConfigurationError

__all__ = ["AUTO", "auto_detectors", "expanded"]

AUTO = "auto"
_ONE_VALUE = (
    DetectorSpec("ewma"),
    DetectorSpec("range"),
    DetectorSpec("range", {"memory": 500}, "recent_range"),
    DetectorSpec("discord", {"history": 416}),
)
#: Of these two one speaks: it depends on whether a series' readings hang together in time (``order``).
_MANY_VALUES = (DetectorSpec("neighbours", {"rows": "unordered"}), DetectorSpec("mahalanobis", {"rows": "ordered"}))
_VERY_MANY_VALUES = (DetectorSpec("neighbours"),)
#: Beside them, only where a value is far beyond all that its feature ever was.
_FAR_OUT = DetectorSpec("range", {"loud": 1e-8}, "far_out")
#: More features than this are too many for ``mahalanobis``.
_MANY = 128


def auto_detectors(features: int) -> tuple[DetectorSpec, ...]:
    """Which detectors watch a stream of so many features."""
    if features == 1:
        return _ONE_VALUE
    return (*(_MANY_VALUES if features <= _MANY else _VERY_MANY_VALUES), _FAR_OUT)


def expanded(specs: Sequence[DetectorSpec], features: int) -> tuple[DetectorSpec, ...]:
    """``specs`` with ``auto`` replaced by what it stands for; a detector that is named beside it, by the same name, is
    not taken twice. Raises ``ConfigurationError`` for an ``auto`` with parameters or a label: it has none."""
    named = {spec.name for spec in specs}
    result: list[DetectorSpec] = []
    for spec in specs:
        if spec.kind != AUTO:
            result.append(spec)
            continue
        if spec.parameters or spec.label:
            raise ConfigurationError(
                f"{AUTO} was given {dict(spec.parameters) or spec.label!r}.",
                remedy="It takes no parameters and no label; name the detectors that it stands for instead: "
                + ", ".join(each.name for each in auto_detectors(features)) + ".",
            )  # fmt: skip
        result += [each for each in auto_detectors(features) if each.name not in named]
    return tuple(result)
