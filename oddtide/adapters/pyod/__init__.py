"""PyOD: its batch detectors by name, trained on a window of readings, scored in the stream.

``catalogue`` says which there are and what each needs installed, ``training`` makes an artifact, ``detectors`` scores
with one. PyOD and scikit-learn are slow to import, so nothing here imports them before they are needed.
"""

from __future__ import annotations

from oddtide.adapters.pyod.catalogue import available
from oddtide.adapters.pyod.detectors import PyodDetector, build
from oddtide.adapters.pyod.training import train

__all__ = ["PyodDetector", "available", "build", "train"]
