"""Putting in force what is due for one partition, right before a batch of it is folded."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from oddtide.domain.errors import OddtideError
from oddtide.domain.observability.controls import ControlApplied
from oddtide.streams.controls.board import Controls
from oddtide.streams.controls.kinds import Place
from oddtide.streams.controls.source import ControlSource
from oddtide.streams.pipeline.processor import PartitionProcessor

__all__ = ["ControlTaker"]

_FIRST_RETRY_S = 1.0
_LAST_RETRY_S = 60.0

_log = structlog.get_logger(__name__)


class ControlTaker:
    """Takes up controls for one processor. ``trouble`` is told of a model that cannot be read (the artifact store is
    away), and told ``""`` when nothing is amiss any more.

    A model that cannot be read is tried again before later batches, ever more rarely; until then the one before it
    scores, and the ledger says so by not naming it. Any other control that cannot take effect raises: to go on under
    the old pipeline would be to ignore what was published."""

    def __init__(
        self,
        processor: PartitionProcessor,
        controls: Controls,
        source: ControlSource,
        trouble: Callable[[str], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        plan = processor.plan
        self._processor = processor
        self._place = Place(plan.name, plan.topic, processor.partition)
        self._controls = controls
        self._source = source
        self._trouble = trouble
        self._clock = clock
        self._waiting: dict[str, tuple[float, float]] = {}

    async def take_up(self, offset: int) -> None:
        """Put everything that is due in force before the record at ``offset``.

        Raises ``ConfigurationError`` (or ``MissingExtraError``) for a pipeline that cannot run here."""
        for control in self._controls.due(self._place, self._processor.in_force, offset):
            if control.kind == "model":
                await self._try_model(control)
            else:
                await self._source.apply_soon(self._processor, control)
                _log.info(
                    "control in force", kind=control.kind, stream=self._place.stream, topic=self._place.topic,
                    partition=self._place.partition, offset=offset, causation=control.causation,
                )  # fmt: skip

    async def _try_model(self, control: ControlApplied) -> None:
        due, delay = self._waiting.get(control.digest, (0.0, 0.0))
        if self._clock() < due:
            return
        try:
            await self._source.apply_soon(self._processor, control)
        except OddtideError as error:
            self._later(control, min(2 * delay, _LAST_RETRY_S) or _FIRST_RETRY_S, error)
        else:
            if self._waiting.pop(control.digest, None):
                _log.info("promoted model in force at last", model=control.model, version=control.version)
                self._trouble("")

    def _later(self, control: ControlApplied, delay: float, error: OddtideError) -> None:
        _log.error(
            "promoted model not in force", model=control.model, version=control.version, reason=str(error),
            next_try_s=delay,
        )  # fmt: skip
        self._waiting = {control.digest: (self._clock() + delay, delay)}
        self._trouble(f"model {control.model}@{control.version}: {error}")
