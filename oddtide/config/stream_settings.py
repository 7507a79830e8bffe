"""The settings of one stream, and the plan that they amount to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from oddtide.config.absence_settings import Absence
from oddtide.config.sections import AlertSettings, Section

if TYPE_CHECKING:
    from oddtide.domain.detection.alarm_budget import BudgetRule
    from oddtide.domain.detection.ports import DetectorSpec
    from oddtide.domain.detection.threshold import ThresholdRule
    from oddtide.domain.quality.contract import Contract
    from oddtide.streams.pipeline.plan import StreamPlan

__all__ = [
    "ContractSettings",
    "DetectorSettings",
    "DriftSettings",
    "FeatureSettings",
    "StreamSettings",
    "ThresholdSettings",
]

_OrderPolicy = Literal["accept", "skip", "reject"]
_TOPIC_PATTERN = r"^[A-Za-z0-9._-]*$"


def _named(key: str) -> Any:
    """Lets a bare name stand for a table that holds only that name."""

    def widen(value: Any) -> Any:
        return {key: value} if isinstance(value, str) else value

    return widen


class FeatureSettings(Section):
    """One numeric feature of a stream."""

    name: str = Field(min_length=1, max_length=128, description="The feature's name in the readings.")
    required: bool = Field(default=True, description="Whether a reading without it is refused.")
    minimum: float | None = Field(default=None, description="Least value allowed, in the feature's own unit.")
    maximum: float | None = Field(default=None, description="Greatest value allowed, in the feature's own unit.")
    counter: bool = Field(
        default=False,
        description="It only grows, and begins anew at zero: detectors and verdicts have its growth per second.",
    )
    on_range: Literal["reject", "skip", "report"] = Field(
        default="reject",
        description="A value out of range: refuse the reading, count but do not score it, or only report.",
    )

    @model_validator(mode="after")
    def _range(self) -> FeatureSettings:
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"feature {self.name!r}: minimum {self.minimum} is above maximum {self.maximum}")
        return self


class DetectorSettings(Section):
    """One detector of a stream."""

    kind: str = Field(
        min_length=1,
        description="auto (what suits the number of features), ewma, half_space_trees, loda, mahalanobis, "
        "neighbours, discord, random_cut_forest, seasonal, counts, midas, spot, range, river:<Class> or pyod:<Class>; "
        "`oddtide models` trains pyod.",
    )
    parameters: dict[str, Any] = Field(default_factory=dict, description="The detector's own parameters.")
    label: str = Field(default="", description="A name to tell two of the same kind apart.")


class ContractSettings(Section):
    """What a stream promises; what becomes of a reading that breaks it."""

    max_age_s: float = Field(
        default=40 * 365.25 * 86_400,
        gt=0.0,
        description="How far a reading may lie before its record's timestamp (seconds).",
    )
    max_ahead_s: float = Field(default=3_600.0, ge=0.0, description="How far after it (seconds).")
    order: _OrderPolicy = Field(default="accept", description="A reading older than the newest of its series.")
    duplicates: _OrderPolicy = Field(
        default="accept", description="A reading at exactly the newest time of its series."
    )
    unknown_fields: Literal["reject", "ignore"] = Field(
        default="reject", description="A reading with undeclared fields."
    )
    max_series_bytes: int = Field(default=512, ge=1, le=32_768, description="Longest series key (bytes of UTF-8).")
    max_labels: int = Field(default=32, ge=0, le=64, description="Most labels a reading may carry (count).")
    max_label_length: int = Field(
        default=256, ge=1, le=1_024, description="Longest name or text of a label (characters)."
    )


class ThresholdSettings(Section):
    """When a verdict is a detection."""

    p_value: float | None = Field(
        default=None,
        ge=0.0,
        le=1.0,
        description="At or below this p-value; the share of ordinary readings that may be flagged. Unset: 1e-6, or "
        "1e-2 beside false_share, which moves the threshold below it. Detectors that are "
        "calibrated on past scores (all but ewma, seasonal, counts, spot and range) need thousands of readings "
        "for so small ones: give them 1e-3 to 1e-5, or a score.",
    )
    score: float | None = Field(
        default=None, ge=0.0, description="Also at or above this score (the detector's own scale)."
    )
    false_share: float = Field(
        default=0.0,
        ge=0.0,
        le=0.5,
        description="At most this share of a partition's alarms false (fraction): the threshold follows what is found. "
        "0: a fixed threshold.",
    )
    false_share_method: Literal["lord", "saffron", "addis", "trailing"] | None = Field(
        default=None,
        description="Which online control of the false-discovery rate keeps that share: LORD++, SAFFRON or ADDIS; or "
        "trailing, which learns the level from all recent p-values, for detectors whose p-values have a floor. "
        "Unset: lord where the one detector is ewma, spot or range, else trailing.",
    )
    false_share_memory: int = Field(
        default=1_000_000,
        ge=0,
        le=1_000_000_000_000,
        description="Readings of a partition over which it forgets past alarms (count); 0: never.",
    )
    direction: Literal["both", "above", "below"] = Field(
        default="both", description="Only readings above, or below, the expected value raise alarms."
    )
    min_effect: float = Field(
        default=0.0, ge=0.0, le=1e300, description="Least distance from the expected value (the feature's own unit)."
    )
    min_duration: int = Field(
        default=1, ge=1, le=1_000, description="So many readings of a series in a row must be that strange (count)."
    )
    refractory: int = Field(
        default=0,
        ge=0,
        le=1_000_000_000,
        description="For so many readings of the series after one that could raise an alarm only a clearly stranger "
        "one can, with less than a third of its p-value (count).",
    )

    @model_validator(mode="after")
    def _by_p_value(self) -> ThresholdSettings:
        rules = [*self.rules(), *(["false_share"] if self.false_share else [])]
        if self.score is not None and rules:
            raise ValueError(f"{', '.join(rules)}: rules for alarms go by p-values; leave out the score")
        return self

    def rule(self) -> ThresholdRule:
        """The threshold itself."""
        from oddtide.domain.detection.threshold import ThresholdRule, largest_p

        return ThresholdRule(largest_p(self.p_value, self.false_share), self.score)

    def budget(self, detectors: Sequence[DetectorSpec]) -> BudgetRule:
        """The budget that moves it."""
        from oddtide.domain.detection.alarm_budget import BudgetRule, method_for

        method = self.false_share_method or method_for(spec.kind for spec in detectors)
        return BudgetRule(self.false_share, method, self.false_share_memory) if self.false_share else BudgetRule()

    def rules(self) -> dict[str, Any]:
        """The rules for alarms that are not left to their defaults."""
        return self.model_dump(include={"direction", "min_effect", "min_duration", "refractory"}, exclude_defaults=True)


class DriftSettings(Section):
    """How changes of distribution are watched (deep profile only)."""

    monitor: Literal["adwin"] = Field(default="adwin", description="The method.")
    delta: float = Field(
        default=0.0005, gt=0.0, lt=1.0, description="Its confidence; smaller means fewer false alarms."
    )
    warning_delta: float = Field(default=0.01, gt=0.0, lt=1.0, description="Confidence of the warning before it.")
    adaptation: Literal["none", "reset", "retrain"] = Field(
        default="none", description="After a drift: nothing, forget the series' detector state, or retrain its model."
    )


_Feature = Annotated[FeatureSettings, BeforeValidator(_named("name"), json_schema_input_type=str | FeatureSettings)]
_Detector = Annotated[DetectorSettings, BeforeValidator(_named("kind"), json_schema_input_type=str | DetectorSettings)]


class StreamSettings(Section):
    """One stream of readings: its topic, what it promises, how it is watched."""

    name: str = Field(default="readings", pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$", description="The stream's name.")
    topic: str = Field(
        default="", max_length=200, pattern=_TOPIC_PATTERN, description="Topic of its readings. Empty: <prefix>.<name>."
    )
    partitions: int = Field(
        default=4, ge=1, le=10_000, description="Partitions of that topic, fixed once made (count)."
    )
    features: list[_Feature] = Field(
        default_factory=lambda: [FeatureSettings(name="value")],
        min_length=1,
        max_length=1_000,
        description="Its numeric features, in order: names, or tables with rules.",
    )
    contract: ContractSettings = Field(default_factory=ContractSettings, description="Rules for its readings.")
    detectors: list[_Detector] = Field(
        default_factory=lambda: [DetectorSettings(kind="auto")],
        min_length=1,
        description="What scores it: names, or tables with parameters.",
    )
    threshold: ThresholdSettings = Field(
        default_factory=ThresholdSettings, description="What makes a verdict a detection."
    )
    publish: Literal["anomalies", "all"] = Field(
        default="anomalies", description="Publish anomalies only, or every verdict."
    )
    profile: Literal["light", "deep"] | None = Field(
        default=None,
        description="light: validation, moments, built-in detectors. deep: also quantile sketches, drift, river's and "
        "PyOD's detectors. Unset: light where every detector is built in and nothing is said of drift. With one EWMA "
        "deep took 1.7 times as long as light (docs/benchmarks.md).",
    )
    profile_every: int = Field(
        default=1_000, ge=0, description="Publish a series' profile every so many of its readings (count); 0: never."
    )
    drift: DriftSettings = Field(default_factory=DriftSettings, description="Watching for drift; deep profile only.")

    absence: Absence | None = Field(
        default=None,
        description="A series that falls silent is found absent: after so many seconds, `auto`, or a table. "
        "Unset: nobody minds.",
    )

    prior: bool = Field(
        default=False,
        description="Judge a series that no detector knows yet by how others of its partition began. Verdicts of such "
        "series then depend on others.",
    )

    alerts: AlertSettings | None = Field(
        default=None, description="Alerts of this stream, where they differ from the section `alerts`."
    )

    @field_validator("features")
    @classmethod
    def _distinct_features(cls, features: list[FeatureSettings]) -> list[FeatureSettings]:
        _distinct([feature.name for feature in features], "feature")
        return features

    @field_validator("detectors")
    @classmethod
    def _distinct_detectors(cls, detectors: list[DetectorSettings]) -> list[DetectorSettings]:
        _distinct([detector.label or detector.kind for detector in detectors], "detector; give one a label")
        return detectors

    @model_validator(mode="after")
    def _affordable(self) -> StreamSettings:
        foreign = [detector.kind for detector in self.detectors if ":" in detector.kind]
        if self.profile == "light" and foreign:
            raise ValueError(
                f"profile 'light' has room for built-in detectors only, not {foreign[0]!r}; set profile = \"deep\""
            )
        return self

    def topic_for(self, prefix: str) -> str:
        """The full name of the readings topic."""
        return self.topic or f"{prefix}.{self.name}"

    def written(self) -> dict[str, Any]:
        """The keys that were written, as JSON has them; what was left to the defaults is left out."""
        return self.model_dump(mode="json", exclude_unset=True)

    def plan(self, prefix: str) -> StreamPlan:
        """Everything that decides this stream's verdicts, as plain values."""
        from oddtide.domain.detection.alarms import AlarmRules
        from oddtide.domain.detection.auto import expanded
        from oddtide.domain.detection.ports import DetectorSpec
        from oddtide.domain.drift.policy import DriftPolicy
        from oddtide.streams.pipeline.plan import StreamPlan

        light = "drift" not in self.model_fields_set and all(":" not in d.kind for d in self.detectors)
        named = [DetectorSpec(d.kind, dict(d.parameters), d.label) for d in self.detectors]
        detectors = expanded(named, len(self.features))
        return StreamPlan(
            name=self.name,
            topic=self.topic_for(prefix),
            contract=self._contract(),
            detectors=detectors,
            threshold=self.threshold.rule(),
            alarms=AlarmRules(**self.threshold.rules()),
            alarm_budget=self.threshold.budget(detectors),
            drift=DriftPolicy(**self.drift.model_dump()),
            publish=self.publish,
            profile=self.profile or ("light" if light else "deep"),
            profile_every=self.profile_every,
            absence=self.absence.policy() if self.absence is not None else None,
            prior=self.prior,
        )

    def _contract(self) -> Contract:
        from oddtide.domain.quality.contract import Contract, FeatureRule

        rules = tuple(FeatureRule(**feature.model_dump()) for feature in self.features)
        return Contract(features=rules, **self.contract.model_dump())


def _distinct(names: list[str], what: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name!r} is there twice as {what}")
