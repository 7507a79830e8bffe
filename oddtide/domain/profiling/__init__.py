"""Profiling: what the data looked like, in little memory.

A *profile* sums up every reading of a series so far: how many there were and how many lacked a feature, the extremes,
mean and variance, and quantiles. It answers the first questions of anyone who meets a stream ("is that value usual?",
"since when is this field empty?") and is what later checks compare against.

A stream can be read only once and never ends, so a profile must be a fold in constant memory. Counts, extremes and
moments are exact that way: mean and variance by Welford's update, which does not lose digits as the sum of squares
does. Quantiles cannot be exact in bounded memory; a *sketch* (:mod:`~oddtide.domain.profiling.sketch`) keeps a few
hundred well-chosen readings and says how far off a rank may be. Sketches and moments can be *merged*: the profile of
two partitions, or of two days, is made from theirs.

A profile depends only on its series' readings and their order, never on batches, clocks or the process's luck.
"""

from __future__ import annotations

from oddtide.domain.profiling.events import FeatureProfile, ProfileUpdated
from oddtide.domain.profiling.profile import QUANTILES, Profiler

__all__ = ["QUANTILES", "FeatureProfile", "ProfileUpdated", "Profiler"]
