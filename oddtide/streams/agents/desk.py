"""The life of a sole decider: taking over, deciding, riding out an unreachable broker, being replaced."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import structlog
from aiokafka.errors import ProducerFenced

from oddtide.streams.agents.decisions import DecisionLog
from oddtide.streams.agents.patience import TRANSIENT
from oddtide.streams.agents.sole_owner import own_alone
from oddtide.streams.app import WorkerContext
from oddtide.streams.transport import BatchApp

__all__ = ["Desk"]

Step: TypeAlias = Callable[[], Awaitable[None]]

_RETRY_S = 1.0

_log = structlog.get_logger(__name__)


class Desk:
    """Makes the worker that holds ``app``'s partitions the one decider of the application.

    ``rebuild`` folds the decider's state from the log anew; it is called after fencing, so the log stands still.
    Decide only inside :meth:`insist`, holding :attr:`lock`.
    """

    def __init__(self, app: BatchApp, context: WorkerContext, name: str, role: str, rebuild: Step) -> None:
        own_alone(app)
        self.lock = asyncio.Lock()
        self.log = DecisionLog(context, name)
        self._app = app
        self._context = context
        self._name = name
        self._role = role
        self._rebuild = rebuild
        self._generation: int | None = None
        app.on_rebalance_complete.connect(self._on_rebalance_complete)
        app.on_before_shutdown.connect(self._on_before_shutdown)

    @property
    def is_ours(self) -> bool:
        """Whether the group gave this worker the desk and it has taken over."""
        return self._generation is not None and self._is_current(self._generation)

    async def insist(self, step: Step, rebuild: Step) -> bool:
        """Run ``step`` until it succeeds, or until the desk is somebody else's (False). Between two tries the desk is
        taken anew and ``rebuild`` folds the state from the log, so a step that failed half-way starts clean."""
        while self.is_ours:
            try:
                await step()
            except TRANSIENT as error:
                await self._recover(error, rebuild)
            else:
                return True
        return False

    async def _on_rebalance_complete(self, *_: Any, **__: Any) -> None:
        generation = self._app.consumer_generation_id
        self._generation = None
        async with self.lock:
            if not self._app.consumer.assignment():
                await self.log.close()
                self._context.progress.role(self._role, "running", "another worker decides; standing by")
                return
            while self._is_current(generation):
                try:
                    await self._take(generation, self._rebuild)
                    return
                except TRANSIENT as error:
                    self._degraded(error)
                    await asyncio.sleep(_RETRY_S)

    async def _take(self, generation: int, rebuild: Step) -> None:
        self._context.progress.role(self._role, "restoring")
        await self.log.open()
        await rebuild()
        self._generation = generation
        self._context.progress.role(self._role, "running")
        _log.info("decides from now on", desk=self._name, worker=self._context.worker)

    async def _recover(self, error: BaseException, rebuild: Step) -> None:
        """After being fenced, first let the group tell who is a member, or two owners fence each other for ever."""
        generation, fenced = self._app.consumer_generation_id, isinstance(error, ProducerFenced)
        self._degraded(error)
        await asyncio.sleep(self._context.session_timeout_s + 1 if fenced else _RETRY_S)
        while self.is_ours:
            try:
                await self._take(generation, rebuild)
                return
            except TRANSIENT as again:
                self._degraded(again)
                await asyncio.sleep(_RETRY_S)

    def _is_current(self, generation: int) -> bool:
        return generation == self._app.consumer_generation_id and not self._app.should_stop

    def _degraded(self, error: BaseException) -> None:
        reason = str(error) or type(error).__name__
        _log.warning("cannot decide for now", desk=self._name, reason=reason)
        self._context.progress.role(self._role, "degraded", reason)

    async def _on_before_shutdown(self, *_: Any, **__: Any) -> None:
        self._generation = None
        await self.log.close()
