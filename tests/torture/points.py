"""Where the product can be hit: named methods, wrapped from outside. A name that is gone fails at the start.

=================  =====================================================================================
``begun``          a transaction is begun, nothing is sent
``written``        everything of a batch is sent and acknowledged by the brokers, the commit is not asked for
``committed``      the commit is done, the batch is not acknowledged
``fenced``         the former owner of a partition is shut out, its ledger is not read
``ledger_read``    ledgers are read, no state is rebuilt
``silent_fold``    a batch is about to be folded in silence
``restored``       the state is rebuilt and equals the ledger's, nothing is committed since
``snap_begun``     a snapshot's state is copied, nothing of it is written
``snap_unsynced``  its content is written to a draft, not yet seen to the disk
``snap_renamed``   the draft has its final name, its folder is not yet seen to the disk
``snap_stored``    it is durable, no ledger record names it
``snap_sweeping``  a ledger record names it, an older one is about to be deleted
``snap_read``      an owner has read one back, and begins with it
=================  =====================================================================================
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from typing import Any

from tests.torture.faults import FaultPlan

__all__ = ["POINTS", "install"]

POINTS = (
    "begun", "written", "committed", "fenced", "ledger_read", "silent_fold", "restored", "snap_begun", "snap_unsynced",
    "snap_renamed", "snap_stored", "snap_sweeping", "snap_read",
)  # fmt: skip

_in_snapshot = threading.local()

Wrapper = Callable[[FaultPlan, Callable[..., Any]], Callable[..., Any]]


def install(plan: FaultPlan) -> None:
    """Wrap every named method so that it tells ``plan`` when it is passed."""
    for place, wrapper in _PLACES.items():
        module, _, path = place.partition(":")
        *owners, name = path.split(".")
        owner: Any = import_module(module)
        for each in owners:
            owner = getattr(owner, each)
        setattr(owner, name, wrapper(plan, getattr(owner, name)))


def _begin(plan: FaultPlan, original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    async def begin(producer: Any) -> None:
        await original(producer)
        plan.recorder.add("transaction", 1)
        plan.reached("begun")

    return begin


def _commit(plan: FaultPlan, original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    async def commit(producer: Any) -> None:
        try:
            if plan.minds("written"):
                await producer.flush()
                plan.reached("written")
            await original(producer)
        finally:
            plan.recorder.add("transaction", -1)
        plan.reached("committed")

    return commit


def _after(point: str) -> Wrapper:
    def wrapper(plan: FaultPlan, original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)
        async def passing(*arguments: Any, **options: Any) -> Any:
            result = await original(*arguments, **options)
            plan.reached(point)
            return result

        return passing

    return wrapper


def _taking(plan: FaultPlan, original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    async def take(*arguments: Any, **options: Any) -> Any:
        with plan.recorder.during("recovery"):
            return await original(*arguments, **options)

    return take


def _quietly(plan: FaultPlan, original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    async def fold(*arguments: Any, **options: Any) -> Any:
        with plan.recorder.during("recovery"):
            plan.reached("silent_fold")
            return await original(*arguments, **options)

    return fold


def _called(before: str = "", after: str = "") -> Wrapper:
    def wrapper(plan: FaultPlan, original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)
        def call(*arguments: Any, **options: Any) -> Any:
            if before:
                plan.reached(before)
            result = original(*arguments, **options)
            if after:
                plan.reached(after)
            return result

        return call

    return wrapper


def _storing(plan: FaultPlan, original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def write(*arguments: Any, **options: Any) -> Any:
        with plan.recorder.during("snapshot"):
            plan.reached("snap_begun")
            _in_snapshot.now = True
            try:
                result = original(*arguments, **options)
            finally:
                _in_snapshot.now = False
            plan.reached("snap_stored")
            return result

    return write


def _in_storing(point: str) -> Wrapper:
    """Before the call, where a snapshot is being stored by this thread."""

    def wrapper(plan: FaultPlan, original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)
        def call(*arguments: Any, **options: Any) -> Any:
            if getattr(_in_snapshot, "now", False):
                plan.reached(point)
            return original(*arguments, **options)

        return call

    return wrapper


_PLACES: dict[str, Wrapper] = {
    "aiokafka:AIOKafkaProducer.begin_transaction": _begin,
    "aiokafka:AIOKafkaProducer.commit_transaction": _commit,
    "oddtide.streams.transactions:PartitionWriter.open": _after("fenced"),
    "oddtide.streams.agents.ingest:read_ledgers": _after("ledger_read"),
    "oddtide.streams.agents.ingest:_Partitions._take": _taking,
    "oddtide.streams.restoring:Restoration.fold": _quietly,
    "oddtide.streams.restoring:Restoration.finish": _called(after="restored"),
    "oddtide.streams.snapshotting:Snapshotter.write": _storing,
    "oddtide.streams.snapshotting:Snapshotter._sweep": _called(before="snap_sweeping"),
    "oddtide.streams.takeover:Takeover.load": _called(after="snap_read"),
    "os:fsync": _in_storing("snap_unsynced"),
    "oddtide.adapters.blobs.folder:_sync": _in_storing("snap_renamed"),
}
