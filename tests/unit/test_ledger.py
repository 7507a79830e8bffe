"""The ledger's arithmetic."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from oddtide.domain.observability.ledger import BatchCompleted, check_batch, check_succession

COUNTS = st.dictionaries(st.sampled_from(["late", "not_json", "out_of_range"]), st.integers(1, 50), max_size=3)


@st.composite
def batches(draw: st.DrawFn) -> BatchCompleted:
    rejected, skipped, scored = draw(COUNTS), draw(COUNTS), draw(st.integers(0, 100))
    start, records, holes = draw(st.integers(0, 10**9)), draw(st.integers(0, 100)), draw(st.integers(0, 9))
    lost = draw(st.integers(0, 9))
    return BatchCompleted(
        stream="s",
        topic="t",
        partition=0,
        from_offset=start,
        to_offset=start + records + holes + lost,
        records=records,
        holes=holes,
        lost=lost,
        readings=scored + sum(rejected.values()) + sum(skipped.values()),
        scored=scored,
        rejected=rejected,
        skipped=skipped,
    )


@given(batches(), st.sampled_from(["records", "holes", "lost", "readings", "scored"]), st.integers(1, 5))
def test_a_sound_batch_adds_up_and_a_bent_one_does_not(batch: BatchCompleted, field: str, by: int) -> None:
    assert check_batch(batch) == []
    bent = msgspec.structs.replace(batch, **{field: getattr(batch, field) + by})
    assert len(check_batch(bent)) == 1


@given(batches(), st.integers(-3, 3))
def test_batches_follow_one_another_without_gap_or_repeat(batch: BatchCompleted, shift: int) -> None:
    following = msgspec.structs.replace(batch, from_offset=batch.to_offset + shift)
    problems = check_succession(batch, following)
    assert [problem.split(":")[0] for problem in problems] == (["gap"] if shift > 0 else ["repeat"] if shift else [])
    assert check_succession(None, batch) == []


def test_on_the_wire_it_says_from_and_to() -> None:
    raw = msgspec.json.encode(_one())
    assert b'"from":1,"to":2' in raw
    assert msgspec.json.decode(raw, type=BatchCompleted) == _one()


def _one() -> BatchCompleted:
    return BatchCompleted(
        stream="s", topic="t", partition=0, from_offset=1, to_offset=2, records=1, holes=0, readings=1, scored=1
    )
