"""A worker: the Faust apps of its roles in one event loop, from start to a clean end."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Callable, Sequence
from importlib import import_module

import uvloop
from mode import Service

from oddtide.domain.errors import OddtideError, UsageError
from oddtide.streams.agents.heartbeat import Heartbeats
from oddtide.streams.app import WorkerContext
from oddtide.streams.ending import STOP_WITHIN_S, LastResort
from oddtide.streams.parts import WorkerParts
from oddtide.streams.standby import Standby

__all__ = ["ROLES", "WorkerParts", "run_worker"]

#: Every role, in the order in which they start; they stop in reverse.
ROLES: tuple[str, ...] = ("ingest", "observability", "mlops", "health")


class _Host(Service):
    """The root of a worker's services: a crash of any of them reaches it."""

    def __init__(self, services: Sequence[Service]) -> None:
        super().__init__()
        for service in services:
            self.add_dependency(service)


def run_worker(
    context: WorkerContext, roles: Sequence[str], parts: WorkerParts, *, ready: Callable[[], None] = lambda: None
) -> int:
    """Run the roles until SIGTERM or SIGINT. Returns 0 after a clean end.

    Raises ``UsageError`` for an unknown role, and whatever ended a role that could not go on.
    """
    unknown = sorted(set(roles) - set(ROLES))
    if unknown:
        raise UsageError(f"unknown role {unknown[0]!r}.", remedy=f"Roles are: {', '.join(ROLES)}.")
    last_resort = LastResort(STOP_WITHIN_S, owing=lambda: bool(context.progress.snapshot().partitions))
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(context, [role for role in ROLES if role in roles], parts, ready, last_resort))
    finally:
        last_resort.over()
    return 0


async def _run(
    context: WorkerContext, roles: list[str], parts: WorkerParts, ready: Callable[[], None], last_resort: LastResort
) -> None:
    _spare_the_collector()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def build(role: str, parts: WorkerParts) -> Service:
        service: Service = import_module(f"oddtide.streams.agents.{role}").build(context, parts)
        return service

    services = {role: build(role, parts) for role in roles}
    heartbeats = Heartbeats(context)
    host = _Host([*services.values(), heartbeats])
    if parts.take_over is not None:
        projecting = {role: service for role, service in services.items() if role != "ingest"}
        host.add_dependency(Standby(host, projecting, parts, build))
    try:
        await host.start()
        ready()
        await host.wait(stop.wait())
        if host.crashed:
            heartbeats.reason = str(host.crash_reason) or repr(host.crash_reason)
            _raise(host.crash_reason)
    except BaseException as reason:
        last_resort.begin(reason)
        raise
    else:
        last_resort.begin()
    finally:
        await host.stop()


def _spare_the_collector() -> None:
    """Look for garbage less often: batches are thousands of live objects, which the collector would walk over and over
    (a tenth of a worker's time); what is there at the start stays anyway."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


def _raise(reason: BaseException | None) -> None:
    if isinstance(reason, OddtideError):
        raise reason
    raise OddtideError(f"the worker ended: {reason!r}.", remedy="The log above says more.") from reason
