"""Training on the log: the newest readings of a stream read back, a model fitted to them, its artifact stored."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from aiokafka import AIOKafkaConsumer, TopicPartition
from numpy.typing import NDArray

from oddtide.domain.errors import UsageError
from oddtide.domain.mlops.events import LogRange, TrainModel
from oddtide.domain.mlops.registry import Training
from oddtide.domain.quality.counters import Rates
from oddtide.domain.quality.validation import Validator
from oddtide.domain.readings import FloatArray, IntArray, rfc3339
from oddtide.streams.agents.logs import fetch_ranges, log_client, topic_bounds
from oddtide.streams.broker import BrokerAccess
from oddtide.streams.codecs.readings import ReadingDecoder
from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.ports import Artifacts, Trainer

__all__ = ["TrainingData", "newest_readings", "train_on_log"]

_FIRST_STEP = 2_000
_LARGEST_STEP = 50_000
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class TrainingData:
    """``values`` (n, d) in the order of arrival, and exactly where they came from: every reading of the records in
    ``lineage`` that the contract accepts, order rules judged within what was read back."""

    values: FloatArray
    lineage: tuple[LogRange, ...]


@dataclass(frozen=True, slots=True)
class _Chunk:
    partition: int
    offsets: IntArray
    arrivals: IntArray
    values: FloatArray


async def newest_readings(broker: BrokerAccess, plan: StreamPlan, partitions: int, window: int) -> TrainingData:
    """The newest ``window`` readings of a stream that its contract accepts; more only so far as records hold several.

    Guaranteed: of each partition the newest records without a gap, none cut in two, so the lineage names the training
    set to the record. Between partitions the records' timestamps decide; producers set them, so a record counts as
    arriving no earlier than those before it in its partition. The same log gives the same readings.
    """
    async with log_client(broker) as client:
        bounds = await topic_bounds(client, plan.topic, range(partitions))
        found = [await _tail(client, plan, source, span, window) for source, span in bounds.items()]
    return _newest(plan, found, window)


async def _tail(
    client: AIOKafkaConsumer, plan: StreamPlan, source: TopicPartition, bounds: tuple[int, int], window: int
) -> _Chunk:
    """One partition from its end backwards, until ``window`` readings of it are valid."""
    (begin, stop), step, have = bounds, min(window, _FIRST_STEP), 0
    records: list[Any] = []
    older: list[Any] = []
    chunk = _decode(plan, source.partition, records)
    while stop > begin and have < window:
        start = max(begin, stop - step)
        older = [r async for _, some in fetch_ranges(client, {source: (start, stop)}) for r in some]
        chunk = await asyncio.to_thread(_decode, plan, source.partition, older)
        have += len(chunk.offsets)
        records = older + records
        stop, step = start, min(step * 4, _LARGEST_STEP)
    if len(records) > len(older):  # judged apart so far: once more in one piece, as order rules ask for
        chunk = await asyncio.to_thread(_decode, plan, source.partition, records)
    return chunk


def _decode(plan: StreamPlan, partition: int, records: Sequence[Any]) -> _Chunk:
    readings = ReadingDecoder(plan.contract).decode(records).readings
    slots: dict[str, int] = {}
    indexes = np.array([slots.setdefault(series, len(slots)) for series in readings.series], dtype=np.int64)
    checked = Validator(plan.contract, plan.name, plan.topic, partition).check(readings, indexes)
    if any(plan.contract.counters):  # a model is trained on what it will score
        rates = Rates(plan.contract.counters)
        rates.grow(len(slots))
        valid = np.flatnonzero(checked.keep)
        readings.values[valid] = rates.of(indexes[valid], readings.times[valid], readings.values[valid])
    keep: NDArray[np.bool_] = checked.keep & np.isfinite(readings.values).any(axis=1)
    arrivals = np.maximum.accumulate(readings.arrivals[keep])
    return _Chunk(partition, readings.offsets[keep], arrivals, readings.values[keep])


def _newest(plan: StreamPlan, chunks: Sequence[_Chunk], window: int) -> TrainingData:
    if not any(len(chunk.offsets) for chunk in chunks):
        raise UsageError(f"the log of {plan.topic} holds no valid readings.", remedy="Push readings, then train.")
    partitions = np.concatenate([np.full(len(chunk.offsets), chunk.partition) for chunk in chunks])
    offsets = np.concatenate([chunk.offsets for chunk in chunks])
    arrivals = np.concatenate([chunk.arrivals for chunk in chunks])
    order = np.lexsort((offsets, partitions, arrivals))
    edge = order[-window] if window < len(order) else order[0]
    oldest = (arrivals[edge], partitions[edge], offsets[edge])
    places = zip(arrivals[order].tolist(), partitions[order].tolist(), offsets[order].tolist(), strict=True)
    chosen = order[[place >= oldest for place in places]]
    values = np.concatenate([chunk.values for chunk in chunks])
    return TrainingData(values[chosen], _lineage(plan.topic, partitions[chosen], offsets[chosen]))


def _lineage(topic: str, partitions: IntArray, offsets: IntArray) -> tuple[LogRange, ...]:
    return tuple(
        LogRange(
            topic=topic,
            partition=int(partition),
            from_offset=int(offsets[partitions == partition].min()),
            to_offset=int(offsets[partitions == partition].max()) + 1,
        )
        for partition in np.unique(partitions)
    )


async def train_on_log(
    broker: BrokerAccess,
    plan: StreamPlan,
    partitions: int,
    command: TrainModel,
    trainer: Trainer,
    artifacts: Artifacts,
    clock: Callable[[], int],
) -> Training:
    """Read back, fit, store. The event loop stays free. Raises what the trainer and the store raise, ``UsageError``
    where there is nothing to train on."""
    began = time.monotonic()
    data = await newest_readings(broker, plan, partitions, command.window)
    content, libraries, metrics = await _apart(
        lambda: trainer(command.algorithm, command.parameters, data.values, plan.contract.names)
    )
    reference, digest = await asyncio.to_thread(artifacts.put, command.model, content)
    return _training(plan, data, reference, digest, libraries, metrics, time.monotonic() - began, rfc3339(clock()))


def _training(
    plan: StreamPlan,
    data: TrainingData,
    reference: str,
    digest: str,
    libraries: Mapping[str, str],
    metrics: Mapping[str, float],
    seconds: float,
    now: str,
) -> Training:
    return Training(
        artifact=reference,
        digest=digest,
        rows=len(data.values),
        features=plan.contract.names,
        lineage=data.lineage,
        libraries=libraries,
        metrics=metrics,
        duration_s=round(seconds, 3),
        time=now,
    )


async def _apart(work: Callable[[], _T]) -> _T:
    """Run ``work`` in a thread of its own that the process does not wait for at its end: a training may take many
    minutes, and a worker that is asked to stop must stop. What was trained is then lost, and trained again."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[_T] = loop.create_future()

    def settle(result: _T | None, error: BaseException | None) -> None:
        if outcome.done():
            return
        if error is not None:
            outcome.set_exception(error)
        else:
            outcome.set_result(result)  # type: ignore[arg-type]  # without an error there is a result

    def run() -> None:
        result, failure = None, None
        try:
            result = work()
        except BaseException as error:
            failure = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=run, name="oddtide-training", daemon=True).start()
    return await outcome
