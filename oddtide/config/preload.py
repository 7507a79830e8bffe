"""What a supervisor does once so that its children need not: importing, and loading the compiled kernels."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable
from importlib import import_module

import orjson

from oddtide.config.settings import Settings

__all__ = ["MODULES", "preload", "warm"]

#: What a worker imports on its way to its first batch. One that is missing here costs time, nothing else.
MODULES = (
    "oddtide.adapters.blobs.folder",
    "oddtide.adapters.blobs.keys",
    "oddtide.adapters.blobs.signed",
    "oddtide.adapters.kafka.admin",
    "oddtide.adapters.notifications.webhook",
    "oddtide.adapters.prometheus.server",
    "oddtide.adapters.pyod.training",
    "oddtide.adapters.storage",
    "oddtide.config.composition",
    "oddtide.config.logs",
    "oddtide.streams.worker",
)

#: So many warm-up readings: enough that what happens at a batch's end happens.
_READINGS = 8
_TIME_NS = 1_767_225_600_000_000_000


def preload(settings: Settings, roles: Iterable[str]) -> None:
    """Import all that a worker with ``roles`` needs and fold a few readings through each stream's pipeline.

    Leaves no thread, no event loop, no connection and no state behind, so that the process may be forked. Raises what
    building a pipeline raises: a detector that does not exist, an extra that is missing.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy: its threads would not survive a fork
    for module in (*MODULES, *(f"oddtide.streams.agents.{role}" for role in roles)):
        import_module(module)
    warm(settings)
    gc.collect()
    gc.freeze()  # the collector would write into these pages, and so give each child a copy of them


def warm(settings: Settings) -> None:
    """Fold a few readings through each stream's pipeline, so that its kernels are loaded. Just installed, they are
    compiled here, which takes half a minute and holds up everything else in the process: a worker that did it with its
    first batch would hold its partitions idle meanwhile, or be thought dead."""
    from oddtide.config.composition import Composition
    from oddtide.streams.codecs.decoded import Record
    from oddtide.streams.pipeline.processor import PartitionProcessor

    composition = Composition(settings)
    toolkit = composition.toolkit()
    for plan in composition.plans():
        reading = {
            "series": "warm-up",
            "time": "2026-01-01T00:00:00Z",
            "features": dict.fromkeys(plan.contract.names, 1.0),
        }
        record = orjson.dumps(reading)
        processor = PartitionProcessor(plan, toolkit, application=settings.application, partition=0)
        processor.fold([Record(offset, _TIME_NS // 1_000_000, b"", record) for offset in range(_READINGS)])
