"""Where the demo lives: its folder, its settings file, the number of this run."""

from __future__ import annotations

import fcntl
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from oddtide.adapters.river.datasets import SHUTTLE_FEATURES
from oddtide.config.settings import Settings
from oddtide.domain.errors import CommandRefusedError, StorageUnavailableError

__all__ = ["HOST", "SHUTTLE", "WATER", "Setting"]

#: Names of the demo's streams.
WATER, SHUTTLE, HOST = "water", "shuttle", "readings"

_FILE = """\
# Written by `oddtide demo` on each run. Commands take it with --config.
application = "demo"
data_folder = "."

[embedded]
port = {port}

[kafka]
result_partitions = 2

[worker]
heartbeat_s = 2.0
metrics_port = 0
session_timeout_s = 6.0

# This machine's own metrics, a reading a second and series; everything as it comes, `auto` for detectors.
[[streams]]
name = "readings"
partitions = 2

# river's WaterFlow: a calm hourly value. `auto` is less surprised each time that the same failure comes back; who wants
# to hear of every one names what suits the series, here a quick mean (alpha) with plain Gaussian tails.
[[streams]]
name = "water"
partitions = 1
[[streams.detectors]]
kind = "ewma"
parameters = {{ alpha = 0.1, tails = "gaussian", warm_up = 48 }}

# river's Shuttle: nine sensors together, watched by `auto`. One reading in fourteen is an anomaly, so the threshold is
# wide.
[[streams]]
name = "shuttle"
partitions = 1
features = [{features}]
threshold = {{ p_value = 0.05 }}
"""


class Setting:
    """The demo's ``folder``. Its data stay from run to run: the log goes on, and each run's data sets are series of
    their own (``run-2.water-flow``), so that no run learns from another's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.config = self.folder / "oddtide.toml"
        self.log = self.folder / "logs" / "worker.log"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder. Raises ``CommandRefusedError`` where another demo does, ``StorageUnavailableError``."""
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            file = (self.folder / "demo.lock").open("w")
        except OSError as error:
            raise StorageUnavailableError(
                f"The folder {self.folder} cannot be used: {error.strerror}.", remedy="Choose another with --data."
            ) from None
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CommandRefusedError(
                    f"A demo already runs in {self.folder}.", remedy="Choose another folder with --data."
                ) from None
            yield

    def write(self, port: int) -> Settings:
        """Write the settings file for the Kafka on ``port``; the settings in it, whatever the environment says."""
        text = _FILE.format(port=port, features=", ".join(f'"{name}"' for name in SHUTTLE_FEATURES))
        self.config.write_text(text, encoding="utf-8")
        return Settings(**{**tomllib.loads(text), "data_folder": self.folder})

    def next_run(self) -> int:
        """The number of this run, from 1."""
        file = self.folder / "runs"
        text = file.read_text(encoding="utf-8").strip() if file.exists() else ""
        number = int(text) + 1 if text.isdigit() else 1
        file.write_text(f"{number}\n", encoding="utf-8")
        return number
