"""What a supervisor does before it forks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from oddtide.config.lagging import ROLES
from oddtide.config.preload import preload
from oddtide.config.settings import Settings
from oddtide.domain.errors import ConfigurationError

PROGRAM = """
import json, sys, threading
from pathlib import Path
from oddtide.config.preload import preload
from oddtide.config.settings import Settings
preload(Settings(data_folder=Path(sys.argv[1])), ["ingest", "observability", "mlops", "health"])
tasks = Path("/proc/self/task")
threads = len(list(tasks.iterdir())) if tasks.exists() else threading.active_count()
links = [str(each.readlink()) for each in Path("/dev/fd").iterdir() if each.is_symlink()]
sockets = [link for link in links if "socket" in link]
print(json.dumps({"threads": threads, "sockets": sockets, "modules": sorted(sys.modules)}))
"""


def test_it_leaves_no_thread_and_no_connection_so_that_forking_is_safe(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path / "data")], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout)
    assert found["threads"] == 1
    assert found["sockets"] == []
    assert {f"oddtide.streams.agents.{role}" for role in ROLES} < set(found["modules"])
    assert not (tmp_path / "data").exists(), "it makes nothing"


def test_a_pipeline_that_cannot_be_built_is_found_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    streams = [{"name": "s", "detectors": [{"kind": "river:Nothing"}]}]
    settings = Settings.model_validate({"data_folder": tmp_path, "streams": streams})
    with pytest.raises(ConfigurationError, match="Nothing"):
        preload(settings, ["ingest"])
