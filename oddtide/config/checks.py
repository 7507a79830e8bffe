"""The checks of ``oddtide doctor``. Each looks at one thing, never raises, and leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from oddtide.domain.errors import OddtideError

if TYPE_CHECKING:
    from oddtide.config.composition import Composition

__all__ = ["Finding", "run_checks"]

_GIB = 1 << 30
_LOW_BYTES, _TOO_LOW_BYTES = 2 * _GIB, _GIB // 4
_SKEW_WARN_S, _SKEW_FAIL_S = 1.0, 60.0


@dataclass(frozen=True)
class Finding:
    """What one check found. ``remedy`` is empty where all is well."""

    name: str
    state: Literal["ok", "warn", "fail"]
    found: str
    remedy: str = ""


Check = Callable[["Composition"], Finding]


def run_checks(composition: Composition) -> list[Finding]:
    """Every check that applies, in the order in which a person would mend things."""
    return [_guarded(name, check, composition) for name, check in _CHECKS.items() if _applies(name, composition)]


def _applies(name: str, composition: Composition) -> bool:
    return name not in ("java", "kafka parts", "kafka port") or composition.settings.embedded_kafka


def _guarded(name: str, check: Check, composition: Composition) -> Finding:
    try:
        return check(composition)
    except OddtideError as error:
        return Finding(name, "fail", error.problem, error.remedy)
    except Exception as error:  # a check that breaks is a finding, not the end of the examination
        return Finding(name, "fail", f"{type(error).__name__}: {error}", "Please report it.")


def _java(composition: Composition) -> Finding:
    from oddtide.adapters.embedded.java import find_java

    return Finding("java", "ok", str(find_java()))


def _parts(composition: Composition) -> Finding:
    from oddtide.adapters.embedded import KAFKA_VERSION
    from oddtide.adapters.embedded.jars import KafkaJars

    jars = KafkaJars()
    if jars.present():
        return Finding("kafka parts", "ok", f"Kafka {KAFKA_VERSION} is in {jars.home}")
    found = f"Kafka {KAFKA_VERSION} is not fetched yet"
    return Finding("kafka parts", "warn", found, "`oddtide up` fetches it, about 46 MB, once.")


def _kafka(composition: Composition) -> Finding:
    with composition.admin() as admin:
        brokers = admin.ping()
    return Finding("kafka", "ok", f"{brokers} broker{'s' if brokers != 1 else ''} at {composition.bootstrap}")


def _topics(composition: Composition) -> Finding:
    specs = composition.catalogue().all()
    with composition.admin() as admin:
        wrong = admin.mismatches(specs)
    if not wrong:
        return Finding("topics", "ok", f"{len(specs)} as declared")
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    return Finding("topics", "fail", f"{wrong[0].problem}{more}", wrong[0].remedy)


def _database(composition: Composition) -> Finding:
    from oddtide.adapters.storage.migrate import SCHEMA

    with composition.read_models():
        kind = composition.settings.storage_url.partition(":")[0].partition("+")[0]
        return Finding("database", "ok", f"{kind}, schema {SCHEMA}")


def _folder(composition: Composition) -> Finding:
    folder = composition.folder
    probe = folder / f".doctor-{os.getpid()}"
    remedy = "Change its permissions, or set data_folder elsewhere."
    try:
        probe.write_bytes(b"x" * 4096)
    except OSError as error:
        return Finding("data folder", "fail", f"{folder} cannot be written: {error.strerror}", remedy)
    finally:
        probe.unlink(missing_ok=True)
    return Finding("data folder", "ok", f"{folder} can be written")


def _disk(composition: Composition) -> Finding:
    folder = composition.folder
    free = shutil.disk_usage(folder).free
    found = f"{free / _GIB:.1f} GiB free on the disk of {folder}"
    if free < _TOO_LOW_BYTES:
        return Finding("disk", "fail", found, "Free some space, or set data_folder to another disk.")
    if free < _LOW_BYTES:
        return Finding("disk", "warn", found, "Free some space soon; Kafka keeps its log there.")
    return Finding("disk", "ok", found)


def _kafka_port(composition: Composition) -> Finding:
    status = composition.embedded().status()
    if status is not None:
        return Finding("kafka port", "ok", f"{status.port} is our own Kafka's (process {status.pid})")
    return _port("kafka port", "127.0.0.1", composition.settings.embedded.port, "embedded.port", "fail")


def _metrics_port(composition: Composition) -> Finding:
    worker = composition.settings.worker
    if not worker.metrics:
        return Finding("metrics port", "ok", "metrics are off")
    return _port("metrics port", worker.metrics_host, worker.metrics_port, "worker.metrics_port", "warn")


def _port(name: str, host: str, port: int, key: str, taken: Literal["warn", "fail"]) -> Finding:
    if port == 0:
        return Finding(name, "ok", "none is fixed")
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((host, port))
        except OSError as error:
            found = f"{host}:{port} is taken ({error.strerror}); a running worker of ours may have it"
            return Finding(name, taken, found, f"Stop what listens there, or set {key} to another.")
    return Finding(name, "ok", f"{host}:{port} is free")


def _clock(composition: Composition) -> Finding:
    if composition.settings.embedded_kafka:
        return Finding("clock", "ok", "Kafka runs on this machine")
    skew_s = _skew_s(composition)
    found = f"the broker's clock is {abs(skew_s):.1f} s {'ahead' if skew_s > 0 else 'behind'}"
    remedy = "Let both machines keep time by NTP: readings are judged against the record's timestamp."
    if abs(skew_s) > _SKEW_FAIL_S:
        return Finding("clock", "fail", found, remedy)
    return Finding("clock", "warn", found, remedy) if abs(skew_s) > _SKEW_WARN_S else Finding("clock", "ok", found)


def _skew_s(composition: Composition) -> float:
    """How far the broker's clock is ahead of ours: what it stamps on a record of a topic made for this question."""
    from oddtide.streams.topics import TopicSpec

    name = composition.catalogue().name(f"doctor-{os.getpid()}")
    config = {"message.timestamp.type": "LogAppendTime", "retention.ms": "60000"}
    with composition.admin() as admin:
        admin.ensure([TopicSpec(name, "doctor", "none", (), 1, "asks the broker for the time", config)])
        try:
            with composition.writer() as writer:
                before = composition.clock()
                stamped_ms = writer.send(name, b"?").wait(30.0).timestamp
                after = composition.clock()
        finally:
            admin.delete([name])
    return stamped_ms / 1e3 - (before + after) / 2e9


_CHECKS: dict[str, Check] = {
    "data folder": _folder,
    "disk": _disk,
    "java": _java,
    "kafka parts": _parts,
    "kafka port": _kafka_port,
    "kafka": _kafka,
    "topics": _topics,
    "database": _database,
    "metrics port": _metrics_port,
    "clock": _clock,
}
