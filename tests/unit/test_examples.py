"""The examples run, and say what they are there to say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.skipif(not EXAMPLES.is_dir(), reason="examples are not part of the source distribution")
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("detect.py", "boiler  value 31 is"),
        ("compare.py", "best: "),
        ("train.py", "1 anomalies"),
        ("live.py", "2026-01-01T00:06:40Z pump-1 value 90 is"),
    ],
)
def test_an_example_runs(name: str, says: str) -> None:
    done = subprocess.run([sys.executable, str(EXAMPLES / name)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert says in done.stdout


def test_every_example_is_listed() -> None:
    if not EXAMPLES.is_dir():
        pytest.skip("examples are not part of the source distribution")
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in sorted(EXAMPLES.glob("*.py")) if f"({path.name})" not in text] == []
