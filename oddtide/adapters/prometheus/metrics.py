"""A worker's progress as Prometheus metrics.

Nothing is counted here: at each scrape, the worker's progress is read once and rendered, so that the numbers of one
scrape fit each other and the hot path pays nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from oddtide.domain.observability.progress import Histogram, StreamProgress, WorkerProgress

__all__ = ["PrometheusMetrics", "WorkerInfo"]

_PLACE = ["stream", "topic", "partition"]


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """Which worker it is, as labels of ``oddtide_worker_info``."""

    worker: str
    host: str
    build: str


class PrometheusMetrics:
    """Renders ``source()`` in Prometheus' text format, with the process's own metrics where the system has them."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, source: Callable[[], WorkerProgress], info: WorkerInfo) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_ProgressCollector(source, info))
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    def render(self) -> bytes:
        """All metrics as they are now."""
        return generate_latest(self._registry)


class _ProgressCollector(Collector):
    def __init__(self, source: Callable[[], WorkerProgress], info: WorkerInfo) -> None:
        self._source = source
        self._info = info

    def describe(self) -> Iterable[Metric]:
        """Nothing: what there is depends on the streams."""
        return ()

    def collect(self) -> Iterator[Metric]:
        progress = self._source()
        yield self._worker()
        yield _roles(progress)
        yield _readings(progress)
        yield from _counters(progress)
        yield _alerts(progress)
        yield from _histograms(progress)
        yield from _partitions(progress)
        yield from _restores(progress)
        yield from _snapshots(progress)
        yield from _memory(progress)
        yield _unscored(progress)

    def _worker(self) -> Metric:
        family = GaugeMetricFamily(
            "oddtide_worker_info", "Which worker this is; always 1.", labels=["worker", "host", "build"]
        )
        family.add_metric([self._info.worker, self._info.host, self._info.build], 1)
        return family


def _roles(progress: WorkerProgress) -> Metric:
    family = GaugeMetricFamily("oddtide_role_running", "1 where a role works, 0 where not.", labels=["role", "state"])
    for role in progress.roles:
        family.add_metric([role.role, role.state], float(role.state in ("running", "degraded")))
    return family


def _readings(progress: WorkerProgress) -> Metric:
    family = CounterMetricFamily(
        "oddtide_readings",
        "Readings by outcome (scored, rejected, skipped) and reason, since the worker's start.",
        labels=["stream", "outcome", "reason"],
    )
    for stream in progress.streams:
        for outcome, reason, count in _outcomes(stream):
            family.add_metric([stream.stream, outcome, reason], count)
    return family


def _outcomes(stream: StreamProgress) -> Iterator[tuple[str, str, int]]:
    yield "scored", "", stream.scored
    for reason, count in sorted(stream.rejected.items()):
        yield "rejected", reason, count
    for reason, count in sorted(stream.skipped.items()):
        yield "skipped", reason, count


def _counters(progress: WorkerProgress) -> Iterator[Metric]:
    records = CounterMetricFamily("oddtide_records", "Records committed since the worker's start.", labels=["stream"])
    found = CounterMetricFamily("oddtide_detections", "Anomalies found since the worker's start.", labels=["stream"])
    for stream in progress.streams:
        records.add_metric([stream.stream], stream.records)
        found.add_metric([stream.stream], stream.detections)
    yield from (records, found)
    yield CounterMetricFamily(
        "oddtide_rebalances", "How often the group of ingest workers settled anew.", value=progress.rebalances
    )
    yield CounterMetricFamily(
        "oddtide_fences", "How often a partition was taken from this worker unasked.", value=progress.fences
    )


def _alerts(progress: WorkerProgress) -> Metric:
    family = CounterMetricFamily(
        "oddtide_alerts", "Alerts that this worker opened, withheld or resolved since its start.", labels=["outcome"]
    )
    for outcome, count in sorted(progress.alerts.items()):
        family.add_metric([outcome], count)
    return family


def _histograms(progress: WorkerProgress) -> Iterator[Metric]:
    commits = HistogramMetricFamily("oddtide_commit_seconds", "Transaction of a batch.", labels=["stream"])
    folds = HistogramMetricFamily(
        "oddtide_fold_seconds", "Folding a batch: decode, validate, score, learn.", labels=["stream"]
    )
    sizes = HistogramMetricFamily("oddtide_batch_records", "Records of a batch that was folded.", labels=["stream"])
    for stream in progress.streams:
        for family, values in ((commits, stream.commits), (folds, stream.folds), (sizes, stream.sizes)):
            family.add_metric([stream.stream], list(_cumulated(values)), values.total)
    yield from (commits, folds, sizes)


def _cumulated(values: Histogram) -> Iterator[tuple[str, float]]:
    total = 0
    for bound, count in zip((*map(str, values.bounds), "+Inf"), values.counts, strict=True):
        total += count
        yield bound, float(total)


def _restores(progress: WorkerProgress) -> Iterator[Metric]:
    left = GaugeMetricFamily("oddtide_restore_records_left", "Records to fold until the state is there.", labels=_PLACE)
    share = GaugeMetricFamily("oddtide_restore_share", "How much of the state is there, 0 to 1.", labels=_PLACE)
    took = GaugeMetricFamily("oddtide_restore_seconds", "How long restoring took, or takes by now.", labels=_PLACE)
    for held in progress.partitions:
        values = [held.stream, held.health.topic, str(held.health.partition)]
        left.add_metric(values, held.restore.left)
        share.add_metric(values, held.health.restored)
        took.add_metric(values, held.restore.seconds)
    yield from (left, share, took)


def _snapshots(progress: WorkerProgress) -> Iterator[Metric]:
    tries = CounterMetricFamily("oddtide_snapshots", "Snapshots, by outcome.", labels=[*_PLACE, "outcome"])
    age = GaugeMetricFamily("oddtide_snapshot_age_seconds", "Age of the newest; absent before it.", labels=_PLACE)
    size = GaugeMetricFamily("oddtide_snapshot_bytes", "Size of the newest.", labels=_PLACE)
    spent = GaugeMetricFamily("oddtide_snapshot_seconds", "Processor time of the newest.", labels=_PLACE)
    for held in progress.partitions:
        values = [held.stream, held.health.topic, str(held.health.partition)]
        tries.add_metric([*values, "written"], held.snapshots.written)
        tries.add_metric([*values, "failed"], held.snapshots.failed)
        if held.snapshots.written:
            age.add_metric(values, held.snapshots.age_s)
            size.add_metric(values, held.snapshots.size)
            spent.add_metric(values, held.snapshots.seconds)
    yield from (tries, age, size, spent)


def _partitions(progress: WorkerProgress) -> Iterator[Metric]:
    labels = _PLACE
    lag = GaugeMetricFamily("oddtide_partition_lag", "Records not yet committed; absent while unknown.", labels=labels)
    position = GaugeMetricFamily("oddtide_partition_position", "Next offset to process.", labels=labels)
    running = GaugeMetricFamily("oddtide_partition_running", "1 once restored and consuming.", labels=labels)
    series = GaugeMetricFamily("oddtide_partition_series", "Series with state, awake or asleep.", labels=labels)
    unproven = GaugeMetricFamily(
        "oddtide_partition_unproven", "1 where restored state could not be held against the ledger.", labels=labels
    )
    for held in progress.partitions:
        values = [held.stream, held.health.topic, str(held.health.partition)]
        unproven.add_metric(values, float(not held.proven))
        if held.health.lag >= 0:
            lag.add_metric(values, held.health.lag)
        position.add_metric(values, held.health.position)
        running.add_metric(values, float(held.health.state == "running"))
        series.add_metric(values, held.series)
    yield from (lag, position, running, series, unproven)


def _memory(progress: WorkerProgress) -> Iterator[Metric]:
    labels = _PLACE
    held = GaugeMetricFamily("oddtide_series", "Series awake in memory and asleep on disk.", labels=[*labels, "state"])
    size = GaugeMetricFamily("oddtide_series_bytes", "Memory that a series takes while awake.", labels=labels)
    moved = CounterMetricFamily("oddtide_series_moved", "Series woken and put to sleep.", labels=[*labels, "to"])
    over = GaugeMetricFamily("oddtide_memory_over_budget", "1 while series cannot be put to sleep.", labels=labels)
    for part in progress.partitions:
        values = [part.stream, part.health.topic, str(part.health.partition)]
        memory = part.memory
        held.add_metric([*values, "awake"], memory.awake)
        held.add_metric([*values, "asleep"], memory.asleep)
        size.add_metric(values, memory.bytes_per_series)
        moved.add_metric([*values, "awake"], memory.woken)
        moved.add_metric([*values, "asleep"], memory.put_to_sleep)
        over.add_metric(values, float(bool(memory.trouble)))
    yield from (held, size, moved, over)


def _unscored(progress: WorkerProgress) -> Metric:
    help = "Share of readings that were neither scored nor rejected or skipped for a stated reason; to be 0."
    family = GaugeMetricFamily("oddtide_readings_unscored_share", help, labels=["stream"])
    for stream in progress.streams:
        accounted = stream.scored + sum(stream.rejected.values()) + sum(stream.skipped.values())
        family.add_metric([stream.stream], (stream.readings - accounted) / max(stream.readings, 1))
    return family
