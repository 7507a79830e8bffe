"""Readings on their way to columns: each decoding path yields a block, and the blocks are put back in log order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from oddtide.domain.readings import FloatArray, IntArray, LabelsColumn, Readings, SeriesColumn
from oddtide.streams.codecs.json_reading import Row
from oddtide.streams.codecs.record_block import RecordBlock

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
    labels: LabelsColumn = field(default_factory=LabelsColumn.none)


def block_of(rows: Sequence[Row], records: Sequence[int], features: int) -> Block:
    """Single readings, each the only one of its record."""
    return Block(
        records=np.array(records, dtype=np.int64),
        rows=np.zeros(len(rows), dtype=np.int64),
        series=SeriesColumn.of(row.series for row in rows),
        times=np.array([row.time for row in rows], dtype=np.int64),
        values=np.array([row.values for row in rows], dtype=np.float64).reshape(len(rows), features),
        labels=LabelsColumn.of(row.labels for row in rows),
    )


def assemble(blocks: Sequence[Block], records: RecordBlock, features: int) -> Readings:
    """The readings of all blocks, by record and row."""
    full = [block for block in blocks if len(block.series)]
    if not full:
        full = [block_of([], [], features)]
    block = full[0] if len(full) == 1 else _join(full)
    where = block.records
    # A producer may set any timestamp; clamped, it still compares as it should.
    arrivals = np.clip(records.timestamps, -_LATEST_MS, _LATEST_MS) * 10**6
    offsets = records.offsets
    if len(where) != len(records) or len(full) > 1 or block.rows.any():
        offsets, arrivals = offsets[where], arrivals[where]
    return Readings(
        series=block.series,
        times=block.times,
        values=block.values,
        offsets=offsets,
        rows=block.rows,
        arrivals=arrivals,
        labels=block.labels,
    )


def _join(blocks: Sequence[Block]) -> Block:
    labels = LabelsColumn.none()
    if any(block.labels for block in blocks):
        labels = LabelsColumn.joined([block.labels or LabelsColumn.none(len(block.series)) for block in blocks])
    joined = Block(
        records=np.concatenate([block.records for block in blocks]),
        rows=np.concatenate([block.rows for block in blocks]),
        series=SeriesColumn.joined([block.series for block in blocks]),
        times=np.concatenate([block.times for block in blocks]),
        values=np.concatenate([block.values for block in blocks]),
        labels=labels,
    )
    if (np.diff(joined.records) < 0).any():
        return _ordered(joined)
    return joined  # batches of readings, each its own block, without single readings between them


def _ordered(block: Block) -> Block:
    order = np.argsort(block.records, kind="stable")
    return Block(
        records=block.records[order],
        rows=block.rows[order],
        series=block.series.take(order),
        times=block.times[order],
        values=block.values[order],
        labels=block.labels.take(order) if block.labels else block.labels,
    )
