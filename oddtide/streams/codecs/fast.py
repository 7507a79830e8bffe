"""The ordinary case, fast: bare JSON readings without headers, read by compiled loops over the bytes of a block.

It refuses nothing: whatever is not plainly in order is left to the exact path (``odd``), so that the two cannot
disagree on what a reading means. Every record is read within its own bytes: joining records to decode them at once
would let two broken ones complete each other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.readings import ByteArray, IntArray, LabelsColumn, SeriesColumn
from oddtide.streams.codecs.blocks import Block
from oddtide.streams.codecs.json_reading import Rules
from oddtide.streams.codecs.record_block import RecordBlock

__all__ = ["FastPath"]


class FastPath:
    """Decodes what is ordinary. Holds no state."""

    def __init__(self, rules: Rules) -> None:
        from oddtide.streams.codecs import decimals, json_scan, time_scan  # numba is heavy

        self._scan, self._decimals, self._times = json_scan, decimals, time_scan
        self._wide = len(rules.names)
        self._names: json_scan.Names | None = None
        if self._wide > 1:
            names = SeriesColumn.of(rules.names)
            required = np.array(rules.required, dtype=np.int64)
            self._names = (json_scan.words_of(_padded(names.data)), names.at, names.size, required)
        self._limits = (rules.max_series_bytes, rules.max_labels, rules.max_label_length)

    def decode(self, block: RecordBlock) -> tuple[Block, IntArray]:
        """The readings of the ordinary records, and the positions of the others, ascending."""
        scan, rows = self._scan, len(block)
        columns = np.empty((scan.FIELDS, rows), dtype=np.int64)
        mantissas, exponents = np.empty((2, rows, self._wide), dtype=np.int64)
        self._look(block, columns, mantissas, exponents)
        ok = columns[scan.DONE] != 0
        values, sure = self._doubles(mantissas.reshape(-1), exponents.reshape(-1))
        ok &= sure.reshape(rows, self._wide).all(axis=1)
        times = self._moments(block.data, columns, ok)
        return self._block(block.data, columns, ok, times, values.reshape(rows, self._wide)), np.flatnonzero(~ok)

    def _look(self, block: RecordBlock, found: IntArray, mantissas: IntArray, exponents: IntArray) -> None:
        """Scan the records, and then once more those so near to the end of the data that words reach beyond it."""
        scan, words = self._scan, self._scan.words_of(block.data)
        at, size, headers = block.value_at, block.value_size, block.headers
        scan.scan(words, at, size, headers, self._names, self._limits, found, mantissas, exponents)
        ends = at + size
        if len(block) and ends.max() > len(words):
            last = np.flatnonzero(ends > len(words))
            base = int(at[last].min())
            words = scan.words_of(_padded(block.data[base:]))
            again = np.empty((scan.FIELDS, len(last)), dtype=np.int64)
            numbers, powers = mantissas[last], exponents[last]
            scan.scan(
                words, at[last] - base, size[last], headers[last], self._names, self._limits, again, numbers, powers
            )
            again[[scan.SERIES_AT, scan.TIME_AT, scan.LABELS_AT]] += base
            found[:, last], mantissas[last], exponents[last] = again, numbers, powers

    def _doubles(self, mantissas: IntArray, exponents: IntArray) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        bits, sure = np.empty(len(mantissas), dtype=np.uint64), np.ones(len(mantissas), dtype=np.bool_)
        values = bits.view(np.float64)
        self._decimals.to_doubles(mantissas, exponents, self._scan.MISSING, bits, values, sure)
        return values, sure

    def _moments(self, data: ByteArray, columns: IntArray, ok: NDArray[np.bool_]) -> IntArray:
        """The times in nanoseconds; ``ok`` ceases to be so for those that are not ordinary."""
        scan, times = self._scan, np.empty(len(ok), dtype=np.int64)
        kinds, numbers = columns[scan.TIME_KIND], columns[scan.MANTISSA]
        doubles = np.empty(0)
        if (ok & (kinds == scan.FRACTION)).any():
            doubles, sure = self._doubles(numbers, columns[scan.EXPONENT])
            ok &= sure | (kinds != scan.FRACTION)
        self._times.read_times(data, kinds, columns[scan.TIME_AT], columns[scan.TIME_SIZE], numbers, doubles, times, ok)
        return times

    def _block(
        self,
        data: ByteArray,
        columns: IntArray,
        ok: NDArray[np.bool_],
        times: IntArray,
        values: NDArray[np.float64],
    ) -> Block:
        scan, records = self._scan, np.arange(len(ok))
        if not ok.all():
            records = np.flatnonzero(ok)
            columns, times, values = columns[:, records], times[records], values[records]
        labels = LabelsColumn(data, columns[scan.LABELS_AT], columns[scan.LABELS_SIZE])
        return Block(
            records=records,
            rows=np.zeros(len(records), dtype=np.int64),
            series=SeriesColumn(data, columns[scan.SERIES_AT], columns[scan.SERIES_SIZE]),
            times=times,
            values=values,
            labels=labels if labels.size.any() else LabelsColumn.none(),
        )


def _padded(data: ByteArray) -> ByteArray:
    """A copy with eight bytes more, read only like the bytes of a block."""
    padded = np.concatenate([data, np.zeros(8, dtype=np.uint8)])
    padded.flags.writeable = False
    return padded
