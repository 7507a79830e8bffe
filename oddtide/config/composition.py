"""The composition: every part made and wired as the settings say. Adapters are imported when first asked for."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oddtide.config.cluster import Cluster
from oddtide.config.settings import Settings
from oddtide.domain.errors import ConfigurationError, OddtideError, StorageUnavailableError

if TYPE_CHECKING:
    from oddtide.adapters.blobs.signed import SignedBlobs
    from oddtide.adapters.storage import SqlReadModels
    from oddtide.domain.observability.notifications import Channel
    from oddtide.domain.observability.policy import AlertPolicy
    from oddtide.streams.app import WorkerContext
    from oddtide.streams.parts import WorkerParts
    from oddtide.streams.pipeline.plan import StreamPlan
    from oddtide.streams.pipeline.sleeping import Sleeping
    from oddtide.streams.ports import Toolkit, Trainer
    from oddtide.streams.progress import ProgressBoard
    from oddtide.streams.topics import TopicCatalogue

__all__ = ["PROJECTING", "Composition"]

#: The roles that fold events into the read models.
PROJECTING = ("observability", "mlops", "health")


class Composition(Cluster):
    """The parts of one installation.

    ``clock`` gives nanoseconds since 1970. Nothing is connected or opened before it is asked for; parts that hold a
    connection are context managers and made anew on each call, the others are made once.
    """

    def __init__(self, settings: Settings, *, clock: Callable[[], int] = time.time_ns) -> None:
        super().__init__(settings)
        self.clock = clock
        self._held = ExitStack()

    def close(self) -> None:
        """Give back what this process holds alone: the right to project, and the database's connections."""
        self._held.close()

    @property
    def folder(self) -> Path:
        """The data folder, made where missing. Raises ``StorageUnavailableError``."""
        folder = self.settings.data_folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageUnavailableError(
                f"The data folder {folder} cannot be made: {error.strerror}.", remedy="Set data_folder elsewhere."
            ) from None
        return folder

    def plans(self) -> tuple[StreamPlan, ...]:
        """The plan of every stream."""
        return tuple(stream.plan(self.settings.prefix) for stream in self.settings.streams)

    def catalogue(self) -> TopicCatalogue:
        """Every topic of this installation."""
        from oddtide.streams.topics import TopicCatalogue

        settings, prefix = self.settings, self.settings.prefix
        return TopicCatalogue(
            streams=tuple((stream.name, stream.topic_for(prefix), stream.partitions) for stream in settings.streams),
            prefix=prefix,
            partitions=settings.kafka.result_partitions,
            retention_days=settings.kafka.retention_days,
            replication=settings.kafka.replication,
        )

    # ---------------------------------------------------------------- pipeline

    def toolkit(self) -> Toolkit:
        """Detectors by name (built in, river's, PyOD's) and drift monitors."""
        from oddtide.adapters.river import drift
        from oddtide.domain.detection.registry import build_detector
        from oddtide.streams.ports import Toolkit

        families = self.families()
        return Toolkit(
            detector=lambda spec, features: build_detector(self.dated(spec), features, families=families),
            monitors=drift.adwin,
        )

    def dated(self, spec: Any) -> Any:
        """``spec``, a country's code in its ``holidays`` replaced by that country's dates."""
        code = spec.parameters.get("holidays")
        if spec.kind != "seasonal" or not isinstance(code, str):
            return spec
        from oddtide.adapters.calendars import holiday_dates

        return replace(spec, parameters={**spec.parameters, "holidays": holiday_dates(code)})

    def families(self) -> dict[str, Any]:
        """The detector families that live in adapters, by prefix; imported when a detector of theirs is built."""

        def river(spec: Any, features: tuple[str, ...]) -> Any:
            from oddtide.adapters.river import detectors

            return detectors.build(spec, features)

        def pyod(spec: Any, features: tuple[str, ...]) -> Any:
            from oddtide.adapters.pyod import detectors

            return detectors.build(spec, features)

        return {"river": river, "pyod": pyod}

    def trainer(self) -> Trainer:
        """Trains batch models."""
        from oddtide.adapters.pyod.training import train

        return train

    def artifacts(self) -> SignedBlobs:
        """Where trained models lie, signed with the configured key or one of the data folder's own."""
        from oddtide.config.blob_stores import artifact_store

        return artifact_store(self.settings, self.folder)

    def snapshots(self) -> SignedBlobs:
        """Where snapshots of state lie, signed with the same key."""
        from oddtide.config.blob_stores import snapshot_store

        return snapshot_store(self.settings, self.folder)

    def read_models(self) -> SqlReadModels:
        """The read models and the questions that they answer; a ``with`` brings them to this build's schema."""
        from oddtide.adapters.storage import SqlReadModels

        channels = [webhook.name for webhook in self.settings.notifications]
        return SqlReadModels(self.settings.storage_url, clock=self.clock, channels=channels)

    def projector(self, holder: str) -> SqlReadModels | None:
        """The read models with the right to fold into them until :meth:`close`; None where another process has it."""
        with ExitStack() as opened:
            models = opened.enter_context(self.read_models())
            lock = models.acquire_projector_lock(holder)
            if lock is None:
                return None
            opened.enter_context(lock)
            self._held.push(opened.pop_all())
        return models

    def channels(self) -> dict[str, Channel]:
        """Whom opened alerts are told to, by name; their connections are held until :meth:`close`."""
        from oddtide.adapters.notifications.webhook import WebhookNotifier
        from oddtide.domain.observability.notifications import Channel

        found = {}
        for webhook in self.settings.notifications:
            notifier = WebhookNotifier(
                webhook.url.get_secret_value(),
                timeout_s=webhook.timeout_s,
                secret=webhook.secret.get_secret_value(),
                headers={name: value.get_secret_value() for name, value in webhook.headers.items()},
                source=f"/{self.settings.application}",
                ca_file=str(webhook.ca_file or ""),
            )
            self._held.callback(notifier.close)
            found[webhook.name] = Channel(notifier, minimum_severity=webhook.minimum_severity)
        return found

    def alert_policy(self) -> AlertPolicy:
        """What opens alerts and ends them."""
        from zoneinfo import ZoneInfo

        from oddtide.config.sections import AlertSettings
        from oddtide.domain.observability.day_budget import DayBudget
        from oddtide.domain.observability.policy import AlertPolicy

        all_ = self.settings.alerts
        day = DayBudget(all_.per_day, ZoneInfo(all_.time_zone))

        def policy(settings: AlertSettings, streams: dict[str, AlertPolicy]) -> AlertPolicy:
            return AlertPolicy(
                kinds=frozenset(settings.kinds),
                quiet_s=settings.quiet_s,
                update_s=settings.update_s,
                warning_p=settings.warning_p,
                critical_p=settings.critical_p,
                day=day,
                streams=streams,
            )

        own = {stream.name: policy(stream.alerts, {}) for stream in self.settings.streams if stream.alerts}
        return policy(all_, own)

    # ---------------------------------------------------------------- worker

    def worker_context(self, roles: Sequence[str], number: int = 0) -> WorkerContext:
        """Who this process is as a worker, the ``number``-th of its supervisor. From here until :meth:`close` its
        metrics are served, where they are on, and its number of the data folder is its own."""
        from oddtide.config.build import build_name
        from oddtide.streams.app import WorkerContext
        from oddtide.streams.progress import ProgressBoard

        settings = self.settings.worker
        host = socket.gethostname()
        worker, build, progress = f"{host}-{os.getpid()}", build_name(), ProgressBoard()
        return WorkerContext(
            application=self.settings.application,
            broker=self.broker_access(),
            catalogue=self.catalogue(),
            worker=worker,
            host=host,
            pid=os.getpid(),
            build=build,
            folder=self.folder,
            clock=self.clock,
            session_timeout_s=settings.session_timeout_s,
            max_batch=settings.max_batch,
            instance_id=self._instance_id(host, number),
            metrics_url=self._serve_metrics(worker, host, build, progress, number) if settings.metrics else "",
            heartbeat_s=settings.heartbeat_s,
            roles=tuple(roles),
            progress=progress,
        )

    def _instance_id(self, host: str, number: int) -> str:
        """The name of this worker in Kafka's groups, the same after a restart."""
        from oddtide.config.worker_numbers import WorkerNumber, instance_id

        topics = [spec.name for spec in self.catalogue().all()]
        named = self.settings.worker.instance_id
        if named:
            return instance_id(f"{named}-{number}" if number else named, topics)
        mine = WorkerNumber(self.folder, number)
        self._held.callback(mine.release)
        return instance_id(f"{host}-{mine.place}-{mine.number}", topics)

    def _serve_metrics(self, worker: str, host: str, build: str, progress: ProgressBoard, number: int) -> str:
        """The address of ``/metrics``: on the port asked for, of further workers on the ones after it. Only the first
        worker insists on a port that somebody asked for."""
        from oddtide.adapters.prometheus.metrics import PrometheusMetrics, WorkerInfo
        from oddtide.adapters.prometheus.server import MetricsServer

        settings = self.settings.worker
        metrics = PrometheusMetrics(progress.snapshot, WorkerInfo(worker, host, build))
        port = settings.metrics_port and settings.metrics_port + number
        ports = [port] if "metrics_port" in settings.model_fields_set and not number else [port, 0]
        while True:
            server = MetricsServer(metrics, progress.snapshot, host=settings.metrics_host, port=ports.pop(0))
            try:
                self._held.enter_context(server)
            except OddtideError:
                if not ports:
                    raise
            else:
                return server.url

    def worker_parts(self, roles: Sequence[str]) -> WorkerParts:
        """What the roles are made of. Where another process projects into the same database, this one does not."""
        from oddtide.streams.parts import WorkerParts

        projects = bool(set(PROJECTING) & set(roles))
        models = self._may_project() if projects else None
        parts = WorkerParts(
            plans=self.plans(),
            toolkit=self.toolkit(),
            artifacts=self.artifacts(),
            trainer=self.trainer(),
            settings={stream.name: stream.written() for stream in self.settings.streams},
            snapshots=self.snapshots(),
            snapshot_policy=self.settings.snapshots.policy(),
            read_models=models,
            alerts=self.alert_policy(),
            outbox=models,
            channels=self.channels() if models is not None else {},
            sleeping=self.sleeping() if "ingest" in roles else None,
        )
        return replace(parts, take_over=lambda: self._take_over(parts)) if projects and models is None else parts

    def _may_project(self) -> SqlReadModels | None:
        return self.projector(f"worker {socket.gethostname()}-{os.getpid()}")

    def _take_over(self, parts: WorkerParts) -> WorkerParts | None:
        """The parts of a worker that projects after all; None where another process still does."""
        models = self._may_project()
        return replace(parts, read_models=models, outbox=models, channels=self.channels()) if models else None

    def sleeping(self) -> Sleeping | None:
        """Where series sleep that memory has no room for. Without a limit too, since a snapshot may hold some; None
        where RocksDB is not installed then."""
        from oddtide.adapters.rocksdb import RocksSleepStores
        from oddtide.streams.pipeline.sleeping import MemoryBudget, Sleeping

        mib = self.settings.worker.memory_mib
        try:
            stores = RocksSleepStores(self.folder / "sleeping")
        except ConfigurationError:
            if mib:
                raise
            return None
        return Sleeping(stores, MemoryBudget(int(mib * 2**20) if mib else 2**62))
