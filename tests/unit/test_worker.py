"""Hosting the roles of a worker."""

from __future__ import annotations

from typing import Any

import pytest

from oddtide.domain.errors import OddtideError, StateMismatchError, UsageError
from oddtide.streams import worker


def test_an_unknown_role_is_named() -> None:
    anything: Any = None
    with pytest.raises(UsageError, match=r"unknown role 'cook'\. Roles are: ingest, observability, mlops, health"):
        worker.run_worker(anything, ["ingest", "cook"], anything)


def test_what_ended_a_worker_is_said() -> None:
    with pytest.raises(StateMismatchError):
        worker._raise(StateMismatchError("another state."))
    with pytest.raises(OddtideError, match=r"the worker ended: ValueError\('odd'\)"):
        worker._raise(ValueError("odd"))
