"""The pages that a person works through are worked through: every command, in order, on a real Kafka."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packaging.blocks import KAFKA, blocks, pages, run_page
from tests.packaging.tree import ROOT

PAGES = [page for page in pages() if any(block.mark == KAFKA for block in blocks(page))]


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Ports of its own; whatever a page left running is stopped."""
    settings = {"ODDTIDE_EMBEDDED__PORT": str(free_port()), "ODDTIDE_WORKER__METRICS_PORT": "0"}
    yield settings
    subprocess.run(
        [sys.executable, "-m", "oddtide", "down"], cwd=tmp_path, env={**settings, "PYTHONPATH": str(ROOT)}, check=True
    )


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_does_what_it_says(page: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    assert run_page(page, tmp_path, environment) == []


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
