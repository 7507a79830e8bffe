"""From a batch whose hash differs to the first verdict that does, as far as verdicts were published."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from aiokafka import AIOKafkaConsumer

from oddtide.domain.detection.events import Verdict
from oddtide.streams.broker import BrokerAccess
from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.replay.published import published_verdicts
from oddtide.streams.replay.verifying import Difference, Verification
from oddtide.streams.topics import TopicCatalogue

__all__ = ["narrow"]

_Place = tuple[int, int]


async def narrow(
    difference: Difference,
    plan: StreamPlan,
    client: AIOKafkaConsumer,
    broker: BrokerAccess,
    catalogue: TopicCatalogue,
    result: Verification,
) -> None:
    """Write into ``result`` where the history first differs: by every verdict where the stream publishes all, else by
    its detections, else no closer than the batch."""
    batch = difference.entry.batch
    result.batch = [batch.from_offset, batch.to_offset]
    result.ledger_hash, result.computed_hash = batch.hash, difference.computed
    result.offset, result.detail = batch.from_offset, difference.detail
    if difference.detail:
        return
    for role, every in (("verdicts", True), ("detections", False)):
        if every and plan.publish != "all":
            continue
        published = await published_verdicts(
            client, broker, catalogue.name(role), batch.partition % catalogue.partitions,
            (batch.topic, batch.partition), (batch.from_offset, batch.to_offset), difference.previous,
        )  # fmt: skip
        if _compare(_computed(difference, every=every), published, result, role):
            return
    result.detail = "no published verdict of this batch differs: the difference lies in what was not published"
    if plan.publish == "all":
        result.detail = "every published verdict of this batch is as computed: the ledger record itself is wrong"


def _computed(difference: Difference, *, every: bool) -> dict[_Place, Verdict]:
    batch, found = difference.entry.batch, {}
    for columns in difference.verdicts:
        rows = range(len(columns)) if every else columns.anomalies.tolist()
        for i in rows:
            place = (int(columns.readings.offsets[i]), int(columns.readings.rows[i]))
            if batch.from_offset <= place[0] < batch.to_offset:
                found[place] = columns.verdict(i)
    return found


def _compare(
    computed: Mapping[_Place, Verdict], published: Mapping[_Place, Verdict], result: Verification, role: str
) -> bool:
    for place in sorted(computed.keys() | published.keys()):
        detail = _difference(computed.get(place), published.get(place), role)
        if detail:
            result.offset, result.row = place
            result.detail = detail
            return True
    return False


def _difference(computed: Verdict | None, published: Verdict | None, role: str) -> str:
    what = "verdict" if role == "verdicts" else "detection"
    if published is None or computed is None:
        done, missed = ("computed", "published") if computed else ("published", "computed")
        return f"the {what} was {done} but not {missed}"
    ours, theirs = (msgspec.json.decode(msgspec.json.encode(each)) for each in (computed, published))
    names = sorted(name for name in ours if ours[name] != theirs.get(name))
    shown = ", ".join(f"{name} {theirs.get(name)!r} published, {ours[name]!r} computed" for name in names[:4])
    return f"{what}: {shown}" if names else ""
