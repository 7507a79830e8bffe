"""The embedded broker of one folder: started, found again, stopped."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

from oddtide.adapters.embedded import java, probe
from oddtide.adapters.embedded.failures import explain, port_taken
from oddtide.adapters.embedded.jars import KafkaJars
from oddtide.adapters.embedded.locks import exclusive, writable_folder
from oddtide.adapters.embedded.pins import KAFKA_VERSION
from oddtide.adapters.embedded.settings import cluster_id, logging_properties, server_properties
from oddtide.domain.errors import DependencyError, StorageUnavailableError

__all__ = ["BrokerStatus", "EmbeddedBroker"]

_NEEDED_BYTES = 64 * 1024 * 1024
_UP_WITHIN_S = 90.0
_DOWN_WITHIN_S = 20.0
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class BrokerStatus:
    """A broker process of a folder that lives. ``ready`` says whether it answers; ``logs`` where it writes why not."""

    pid: int
    port: int
    bootstrap: str
    ready: bool
    folder: Path
    logs: Path
    version: str = KAFKA_VERSION


class EmbeddedBroker:
    """Apache Kafka in ``folder``, on 127.0.0.1 and ``port``; 0 chooses a free one and keeps it for this folder.

    Every process that names the folder means the same broker: the first :meth:`start` starts it, later ones attach,
    and :meth:`stop` stops it whoever started it. ``jars`` replaces where Kafka itself comes from.
    """

    def __init__(self, folder: Path, *, port: int, heap_mib: int = 512, jars: KafkaJars | None = None) -> None:
        self.folder = folder.absolute()
        self.port = port
        self.heap_mib = heap_mib
        self.attached = False
        self._jars = jars or KafkaJars()

    @property
    def logs(self) -> Path:
        """The folder of the broker's own logs."""
        return self.folder / "logs"

    def start(self, report: Callable[[str], None] = lambda line: None, *, detach: bool = False) -> str:
        """Start the broker, or attach to the one that runs; returns the bootstrap address once it serves.

        Without ``detach`` it ends with this process (on Linux however that ends, elsewhere by :meth:`stop` only).
        After this, :attr:`attached` says whether it was running already. Raises ``StorageUnavailableError``,
        ``DownloadError`` or ``DependencyError`` (Java, port in use).
        """
        self.folder = writable_folder(self.folder, "the embedded Kafka", "Choose another with data_folder.")
        with self._locked(report):
            status = self.status()
            self.attached = status is not None
            if status is None:
                port = self._launch(report, detach=detach)
            else:
                port = status.port
                self._await_ready(status.pid, port)
        return f"127.0.0.1:{port}"

    def stop(self, report: Callable[[str], None] = lambda line: None) -> bool:
        """End the folder's broker and wait until it is gone: asked first, killed after 20 s. False: none ran."""
        if not self.folder.is_dir():
            return False
        with self._locked(report):
            state = self._state()
            pid = self._living(state)
            if pid is not None:
                self._end(pid)
            if port := state.get("port"):
                self._forget(port)
        return pid is not None

    def status(self) -> BrokerStatus | None:
        """The folder's broker if its process lives, else None. What a dead or reused process left is seen through."""
        state = self._state()
        pid = self._living(state)
        if pid is None:
            return None
        port = int(state["port"] or 0)
        return BrokerStatus(pid, port, f"127.0.0.1:{port}", probe.answers(port), self.folder, self.logs)

    @property
    def _mark(self) -> str:
        return f"-Doddtide.folder={self.folder}"

    def _locked(self, report: Callable[[str], None]) -> AbstractContextManager[None]:
        return exclusive(self.folder / "lock", waiting=lambda: report("Another process starts or stops this Kafka."))

    def _launch(self, report: Callable[[str], None], *, detach: bool) -> int:
        executable = java.find_java()
        self._check_space()
        jars = self._jars.obtain(report)
        port = self._choose_port()
        controller_port = probe.free_port()
        self.logs.mkdir(exist_ok=True)
        settings = server_properties(port=port, controller_port=controller_port)
        self._write("server.properties", settings)
        self._write("log4j2.properties", logging_properties())
        command = self._command(executable, jars)
        report(f"Starting Apache Kafka {KAFKA_VERSION} on 127.0.0.1:{port}.")
        self._format(command, port)
        (self.logs / "kafka.log").unlink(missing_ok=True)
        pid = java.launch([*command, "kafka.Kafka", "server.properties"], self.folder, self._output, detach=detach)
        try:
            self._remember(port=port, pid=pid)
            self._await_ready(pid, port)
        except BaseException:
            self._end(pid)
            self._forget(port)
            raise
        return port

    @property
    def _output(self) -> Path:
        return self.logs / "start.log"

    def _command(self, executable: Path, jars: list[Path]) -> list[str]:
        class_path = os.pathsep.join(str(jar) for jar in jars)
        return [
            str(executable),
            f"-Xmx{self.heap_mib}m",
            "-XX:+UseSerialGC",
            "-XX:+ExitOnOutOfMemoryError",
            "-Djava.awt.headless=true",
            "-Dlog4j2.configurationFile=log4j2.properties",
            self._mark,
            "-cp",
            class_path,
        ]

    def _format(self, command: list[str], port: int) -> None:
        if (self.folder / "data" / "meta.properties").exists():
            return
        tool = ["kafka.tools.StorageTool", "format", "--ignore-formatted", "-t", cluster_id(self.folder)]
        with self._output.open("wb") as output:
            done = subprocess.run(
                [*command, *tool, "-c", "server.properties"],
                cwd=self.folder, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, check=False,
            )  # fmt: skip
        if done.returncode:
            raise explain(self.logs, port)

    def _await_ready(self, pid: int, port: int) -> None:
        deadline = time.monotonic() + _UP_WITHIN_S
        while not probe.answers(port):
            if java.ended(pid, self._mark):
                raise explain(self.logs, port, java.how_it_ended(pid))
            if time.monotonic() > deadline:
                raise DependencyError(
                    f"The embedded Kafka (process {pid}) did not answer on port {port} within {_UP_WITHIN_S:.0f} s.",
                    remedy=f"Run `oddtide down` and try again; its logs are in {self.logs}.",
                )
            time.sleep(_POLL_S)

    def _choose_port(self) -> int:
        if self.port:
            if not probe.is_free(self.port):
                raise port_taken(self.port, kafka=probe.answers(self.port))
            return self.port
        remembered = int(self._state().get("port") or 0)
        return remembered if remembered and probe.is_free(remembered) else probe.free_port()

    def _check_space(self) -> None:
        free = shutil.disk_usage(self.folder).free
        if free < _NEEDED_BYTES:
            raise StorageUnavailableError(
                f"The disk that holds {self.folder} has {free // 2**20} MiB left; the embedded Kafka needs "
                f"{_NEEDED_BYTES // 2**20} at least.",
                remedy="Free some space, or move the data with the setting data_folder.",
            )

    def _end(self, pid: int) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            if java.ended(pid, self._mark):
                return
            with suppress(ProcessLookupError):
                os.kill(pid, number)
            deadline = time.monotonic() + _DOWN_WITHIN_S
            while not java.ended(pid, self._mark) and time.monotonic() < deadline:
                time.sleep(_POLL_S)

    def _living(self, state: dict[str, int | None]) -> int | None:
        pid = state.get("pid")
        return pid if pid and not java.ended(pid, self._mark) and java.runs(pid, self._mark) else None

    def _state(self) -> dict[str, int | None]:
        try:
            state = json.loads((self.folder / "broker.json").read_text())
            return {"port": int(state["port"]), "pid": None if state["pid"] is None else int(state["pid"])}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def _remember(self, *, port: int, pid: int) -> None:
        self._write("broker.json", json.dumps({"port": port, "pid": pid, "version": KAFKA_VERSION}))

    def _forget(self, port: int) -> None:
        with suppress(StorageUnavailableError):  # only tidiness: a process that is gone is seen through
            self._write("broker.json", json.dumps({"port": port, "pid": None, "version": KAFKA_VERSION}))

    def _write(self, name: str, text: str) -> None:
        """Replace a file whole, or not at all."""
        fresh = self.folder / f"{name}.new"
        try:
            fresh.write_text(text)
            fresh.replace(self.folder / name)
        except OSError as error:
            raise StorageUnavailableError(
                f"The embedded Kafka cannot write {self.folder / name}: {error.strerror or error}.",
                remedy="Free some space, or choose another folder with data_folder.",
            ) from error
