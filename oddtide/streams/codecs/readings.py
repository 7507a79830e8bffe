"""Records in, columns of readings out: the decoder of the hot path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from oddtide.domain.errors import DecodeError
from oddtide.domain.quality.contract import Contract
from oddtide.streams.codecs.blocks import Block, RowRefusal, assemble, block_of
from oddtide.streams.codecs.cloudevent import Payload, open_record
from oddtide.streams.codecs.columns import is_batch, read_batch
from oddtide.streams.codecs.decoded import WHOLE_RECORD, Decoded, RecordLike, Refusal
from oddtide.streams.codecs.fast import FastPath
from oddtide.streams.codecs.history import history_marks
from oddtide.streams.codecs.json_reading import Row, Rules, read_one
from oddtide.streams.codecs.record_block import RecordBlock

if TYPE_CHECKING:
    from oddtide.streams.codecs.arrow_layout import Layouts

__all__ = ["ReadingDecoder"]


class ReadingDecoder:
    """Decodes the records of one stream, in any of the forms of :mod:`oddtide.streams.codecs`.

    Guaranteed: no byte sequence raises; every reading ends in ``readings`` or in ``refusals`` and an undecodable record
    is one refusal; a record's outcome depends on that record and the contract alone, so that decoding a batch equals
    decoding its records one by one. Not guaranteed: thread safety. ``decode`` expects records of one partition in
    the order of their offsets.
    """

    def __init__(self, contract: Contract) -> None:
        self._rules = Rules.of(contract)
        self._fast = FastPath(self._rules)
        self._layouts: Layouts | None = None

    def decode(self, records: Sequence[RecordLike]) -> Decoded:
        """Decode ``records``; the readings and the refusals come in the records' order."""
        records = RecordBlock.of(records)
        block, odd = self._fast.decode(records)
        blocks, refusals = self._exact(records, odd.tolist())
        return Decoded(
            readings=assemble([block, *blocks], records, len(self._rules.names)),
            refusals=refusals,
            records=len(records),
            first=records.first if records else 0,
            next=records.last + 1 if records else 0,
            history=history_marks(records),
        )

    def _exact(self, records: RecordBlock, positions: Sequence[int]) -> tuple[list[Block], list[Refusal]]:
        rows: list[Row] = []
        places: list[int] = []
        blocks: list[Block] = []
        refusals: list[Refusal] = []
        for position in positions:
            record = records[position]
            try:
                payload = open_record(record)
                if payload.arrow is not None or is_batch(payload.document, self._rules):
                    block, refused = self._batch(payload, position)
                    blocks.append(block)
                    refusals += [Refusal(record.offset, *each) for each in refused]
                else:
                    rows.append(read_one(payload.document, payload.origin, self._rules))
                    places.append(position)
            except DecodeError as error:
                refusals.append(Refusal(record.offset, WHOLE_RECORD, error.reason, error.detail))
        if rows:
            blocks.append(block_of(rows, places, len(self._rules.names)))
        return blocks, refusals

    def _batch(self, payload: Payload, position: int) -> tuple[Block, list[RowRefusal]]:
        if payload.arrow is None:
            return read_batch(payload.document, payload.origin, self._rules, position)
        from oddtide.streams.codecs import arrow, arrow_layout  # pyarrow is heavy and most streams have none

        if self._layouts is None:
            self._layouts = arrow_layout.Layouts(self._rules)
        return arrow.read_arrow(payload.arrow, payload.origin, self._rules, position, self._layouts)
