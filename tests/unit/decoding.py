"""What the tests of the decoders share: records, and what became of them."""

from __future__ import annotations

import orjson

from oddtide.domain.quality.contract import Contract, FeatureRule
from oddtide.domain.quality.reasons import Reason
from oddtide.streams.codecs.decoded import WHOLE_RECORD, Decoded, Record
from oddtide.streams.codecs.readings import ReadingDecoder

ONE = Contract()
SEVERAL = Contract((FeatureRule("a"), FeatureRule("b", required=False)))
OPTIONAL = Contract((FeatureRule("a", required=False), FeatureRule("b", required=False)))
TIME = "2026-01-31T12:00:00Z"
NS = 1_769_860_800 * 10**9


def record(
    value: object, *, key: bytes | None = None, headers: dict[str, str] | None = None, offset: int = 7
) -> Record:
    raw = value if value is None or isinstance(value, bytes) else orjson.dumps(value)
    return Record(offset, 1_000, key, raw, [(name, text.encode()) for name, text in (headers or {}).items()])


def decode(*records: Record, contract: Contract = ONE) -> Decoded:
    return ReadingDecoder(contract).decode(records)


def refused(value: object, *, contract: Contract = ONE, key: bytes | None = None, **headers: str) -> str:
    """The reason why the whole of a record was refused."""
    names = {name.replace("content_type", "content-type"): text for name, text in headers.items()}
    decoded = decode(record(value, key=key, headers=names), contract=contract)
    assert len(decoded.readings) == 0
    (refusal,) = decoded.refusals
    assert (refusal.offset, refusal.row) == (7, WHOLE_RECORD)
    assert 0 < len(refusal.detail) < 300
    assert type(refusal.reason) is str
    assert refusal.reason in {reason.value for reason in Reason}
    return refusal.reason


def reading(**fields: object) -> dict[str, object]:
    """A good reading with some fields replaced."""
    return {"series": "s", "time": TIME, "value": 1.5, **fields}
