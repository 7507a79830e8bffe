"""What a worker says while it restores: one line every few seconds, however many partitions there are."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from oddtide.domain.observability.progress import PartitionProgress, WorkerProgress

__all__ = ["RestoreReport"]

_EVERY_S = 2.0

_log = structlog.get_logger(__name__)


class RestoreReport:
    """Logs how far the silent fold is. A restart that takes less than a few seconds says nothing here."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, every_s: float = _EVERY_S) -> None:
        self._clock = clock
        self._every_s = every_s
        self._due: float | None = None
        self._began = 0.0

    def tell(self, progress: WorkerProgress) -> None:
        """Say how far it is, if it is time to."""
        restoring = [held for held in progress.partitions if held.health.state == "restoring" and held.restore.total]
        now = self._clock()
        if not restoring:
            if self._due is not None and any(held.restore.total for held in progress.partitions):
                _log.info("restored", partitions=len(progress.partitions), seconds=round(now - self._began, 1))
            self._due = None
        elif self._due is None:
            self._began, self._due = now, now + self._every_s
        elif now >= self._due:
            self._due = now + self._every_s
            _say(restoring, len(progress.partitions))


def _say(restoring: list[PartitionProgress], held: int) -> None:
    total = sum(each.restore.total for each in restoring)
    left = sum(each.restore.left for each in restoring)
    rate = sum(each.restore.rate for each in restoring)
    slowest = max(restoring, key=lambda each: each.restore.left)
    _log.info(
        "restoring", partitions=f"{len(restoring)} of {held}", done=f"{1 - left / total:.0%}", records_left=left,
        records_per_s=round(rate), about_s=round(left / rate) if rate else None,
        farthest=f"{slowest.health.topic}[{slowest.health.partition}]",
    )  # fmt: skip
