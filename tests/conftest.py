"""What every test may ask for: a real Kafka, one for the whole session, and names of its own on it."""

from __future__ import annotations

import itertools
import os
import re
import signal
from collections.abc import Iterator

import hypothesis
import pytest

from oddtide.adapters.embedded import EmbeddedBroker

# Speed is the benchmarks' matter: a slow example (numba compiling, a busy machine) is no failure.
hypothesis.settings.register_profile("oddtide", deadline=None)
hypothesis.settings.load_profile("oddtide")

_NUMBERS = itertools.count(1)


def pytest_configure() -> None:
    """Let Ctrl-C reach what tests start: a shell's background job ignores it, and programs inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an embedded broker: a fresh folder and a free port; the jars are the user's cached ones."""
    broker = EmbeddedBroker(tmp_path_factory.mktemp("kafka"), port=0)
    yield broker.start()
    broker.stop()


@pytest.fixture
def topic_prefix(request: pytest.FixtureRequest) -> str:
    """A prefix for topics, groups and applications that no other test of any session uses."""
    name = re.sub(r"[^a-zA-Z0-9]+", "-", request.node.name).strip("-")[:60]
    return f"{name}-{os.getpid()}-{next(_NUMBERS)}"
