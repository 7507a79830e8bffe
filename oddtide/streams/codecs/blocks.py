"""Readings on their way to columns: each decoding path yields a block, and the blocks are put back in log order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from oddtide.domain.readings import FloatArray, IntArray, Readings, SeriesColumn
from oddtide.streams.codecs.decoded import RecordLike
from oddtide.streams.codecs.json_reading import Row

__all__ = ["Block", "RowRefusal", "assemble", "block_of"]

#: A refused row of a batch: (row, reason, detail, series as far as known).
RowRefusal = tuple[int, str, str, str]

_LATEST_MS = (2**63 - 1) // 10**6


@dataclass(slots=True)
class Block:
    """Some readings: ``records`` says by position which record each came in, ``rows`` where in it. ``labels`` is
    empty where none has any."""

    records: IntArray
    rows: IntArray
    series: SeriesColumn
    times: IntArray
    values: FloatArray
    labels: Sequence[Mapping[str, str] | None] = field(default_factory=tuple)


def block_of(rows: Sequence[Row], records: Sequence[int], features: int) -> Block:
    """Single readings, each the only one of its record."""
    labels = [row.labels for row in rows]
    return Block(
        records=np.array(records, dtype=np.int64),
        rows=np.zeros(len(rows), dtype=np.int64),
        series=SeriesColumn.of(row.series for row in rows),
        times=np.array([row.time for row in rows], dtype=np.int64),
        values=np.array([row.values for row in rows], dtype=np.float64).reshape(len(rows), features),
        labels=labels if any(labels) else (),
    )


def assemble(blocks: Sequence[Block], records: Sequence[RecordLike], features: int) -> Readings:
    """The readings of all blocks, by record and row."""
    full = [block for block in blocks if len(block.series)]
    if not full:
        full = [block_of([], [], features)]
    block = full[0] if len(full) == 1 else _join(full)
    where = block.records
    offsets = np.array([record.offset for record in records], dtype=np.int64)
    # A producer may set any timestamp; clamped, it still compares as it should.
    stamps = np.array([record.timestamp for record in records], dtype=np.int64)
    arrivals = np.clip(stamps, -_LATEST_MS, _LATEST_MS) * 10**6
    return Readings(
        series=block.series,
        times=block.times,
        values=block.values,
        offsets=offsets[where],
        rows=block.rows,
        arrivals=arrivals[where],
        labels=block.labels,
    )


def _join(blocks: Sequence[Block]) -> Block:
    records = np.concatenate([block.records for block in blocks])
    order = np.argsort(records, kind="stable")
    labels: list[Mapping[str, str] | None] = []
    if any(block.labels for block in blocks):
        labels = [each for block in blocks for each in (block.labels or [None] * len(block.series))]
    return Block(
        records=records[order],
        rows=np.concatenate([block.rows for block in blocks])[order],
        series=SeriesColumn.joined([block.series for block in blocks]).take(order),
        times=np.concatenate([block.times for block in blocks])[order],
        values=np.concatenate([block.values for block in blocks])[order],
        labels=[labels[i] for i in order.tolist()] if labels else (),
    )
