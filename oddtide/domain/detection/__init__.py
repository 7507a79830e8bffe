"""Detection: how strange is a reading, and is it strange enough to say so?

A **detector** looks at the readings of each series, one after the other, and gives each a **score**: the higher, the
stranger, on the detector's own scale. Scores of different detectors cannot be compared, and a score alone does not say
how often it turns up. **Calibration** turns it into a **p-value**: the probability that a reading scores at least
this high if nothing is wrong. A **threshold** rule turns p-values (or scores) into **detections**. The full outcome
for one reading, with what was expected and which feature contributed how much, is its **verdict**.

Three habits keep the answers honest. *Score before learn*: a reading is scored by what was known before it came, never
by itself or what follows. *Warm-up*: a detector that has not seen enough says so (score 0, p-value 1, and how far it
is) rather than guess. *Batches never matter*: however the log is cut, each reading gets the same verdict.

What is here, one algorithm a file:

- ``ewma``: where should the value be? A robust moving mean and variance per series, with band and p-value. Cheap,
  explains itself in the value's own unit, knows nothing of seasons or of features together.
- ``seasonal``: is this usual for the hour? The cycle of the day and the week, found by itself, by the clock on the
  wall; silent where there is none.
- ``counts``: is this too many, or too few for too long? Laws of small counts, mostly zero; silent of what is none.
- ``half_space_trees``: is this combination of features unusual? Random partitions of the feature space, counted.
- ``loda``: has anything like this been seen, looked at along many random cuts? Histograms; for many features.
- ``mahalanobis``: do the features still go together as they did, and lie where they did? Hotelling's chart against a
  frozen reference: for faults that last.
- ``neighbours``: how far is this from the past readings most like it? A small sample of the past; for rows that have
  nothing to do with the one before, of many features and of any sort.
- ``discord``: has this series ever moved like this? The newest pattern of values against the nearest earlier one.
- ``random_cut_forest``: how much would the picture of the last readings have to change to hold this one too? Random
  trees over a sample that moves on; also of shapes (``shingle``), also of features together.
- ``spot``: how probable is a value this far out? Extreme-value tails on both sides of a moving mean.
- ``range``: is this a record, and by how much? The outermost readings so far, and nothing else.
- ``midas``: who talks to whom, far more often than usual? Bursts of edges in a graph, by two labels of each reading
  (``label_hashes``: labels as numbers).
- ``order``: do a series' readings hang together in time, or are they rows in any order? What of ``mahalanobis`` and
  ``neighbours`` suits it.
- ``calibration``: p-values from past scores alone, for detectors that have no distribution of their own
  (``past_scores``: what it keeps of them).
- ``ensemble``: several detectors on one stream. ``auto``: which, where nobody says. ``threshold``: the rule.
  ``alarms``: which strange readings may raise one (direction, effect, duration, refractory period). ``alarm_budget``:
  a threshold that moves so that at most a share of the alarms is false. ``explain``: the verdict in a line;
  ``telling``: in full, with why it did or did not raise an alarm.
- ``prior``: a series that no detector knows yet, judged by how others of its stream began.
- ``absence``: a series that falls silent. No reading, so no score: a deadline that passes.
- ``registry``: from a name in the configuration to a detector; adapters add whole families to it.

A detector is anything that keeps the laws of ``ports.Detector``; they are tested for every implementation in
``tests/conformance/test_detector_laws.py``. Detectors keep state by *slot*, one per series of a partition; who owns
which slot is the pipeline's business.
"""

from __future__ import annotations

from oddtide.domain.detection.absence import AbsencePolicy
from oddtide.domain.detection.events import AbsenceDetected, AnomalyDetected, FeatureVerdict, SeriesReturned, Verdict
from oddtide.domain.detection.explain import reason
from oddtide.domain.detection.ports import Adoptable, Detector, DetectorSpec, Rows, Scores
from oddtide.domain.detection.registry import build_detector, known_detectors
from oddtide.domain.detection.threshold import ThresholdRule

__all__ = [
    "AbsenceDetected",
    "AbsencePolicy",
    "Adoptable",
    "AnomalyDetected",
    "Detector",
    "DetectorSpec",
    "FeatureVerdict",
    "Rows",
    "Scores",
    "SeriesReturned",
    "ThresholdRule",
    "Verdict",
    "build_detector",
    "known_detectors",
    "reason",
]
