"""What the roles of a worker are made of, handed in by the composition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.ports import Artifacts, ReadModels, Toolkit, Trainer

__all__ = ["WorkerParts"]


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """``read_models`` is None where this worker projects nothing, ``notifier`` None where nobody is to be told."""

    plans: tuple[StreamPlan, ...]
    toolkit: Toolkit
    artifacts: Artifacts
    trainer: Trainer
    read_models: ReadModels | None = None
    alerts: Any = None  # AGENTS: give it its type (the alert policy)
    notifier: Any = None  # AGENTS: give it its type
