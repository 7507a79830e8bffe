"""The snapshots of an ingest worker, as its context and its parts say."""

from __future__ import annotations

from oddtide.streams.app import WorkerContext
from oddtide.streams.parts import WorkerParts
from oddtide.streams.snapshotting import Snapshots

__all__ = ["worker_snapshots"]


def worker_snapshots(context: WorkerContext, parts: WorkerParts) -> Snapshots:
    """What all its partitions share; trouble with the store shows as the part ``snapshots``, degraded."""
    board = context.progress
    return Snapshots(
        parts.snapshots,
        parts.snapshot_policy,
        context.application,
        build=context.build,
        folder=context.folder / "snapshots-under-way",
        trouble=lambda reason: board.role("snapshots", "degraded" if reason else "running", reason),
        progress=board,
    )
