"""Statistics that the domains share: small, pure, without state of their own.

A *p-value* answers one question: if nothing were wrong, how often would a value at least this strange turn up?
Three things make the answer harder on streams than in a textbook. Far out in the tail a Gaussian p-value
underflows to 0, and 0 would claim certainty: every p-value here is clipped to at least :data:`SMALLEST_P`. Real
data has heavier tails than a Gaussian, so what is beyond a high threshold is best described by what was seen
beyond it (peaks over threshold). And many looks at the same data multiply the chances of a false alarm, so
p-values of several tests of one reading are corrected before they are compared with a threshold.

This is a leaf: it imports nothing of oddtide, and every domain may use it.
"""

from __future__ import annotations

from oddtide.domain.statistics.pvalues import SMALLEST_P, bonferroni, gaussian_p, gaussian_quantile, surprise

__all__ = ["SMALLEST_P", "bonferroni", "gaussian_p", "gaussian_quantile", "surprise"]
