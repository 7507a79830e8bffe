"""The name of what computes verdicts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import oddtide
from oddtide.config.build import build_name, code_digest


def test_it_holds_what_verdicts_depend_on() -> None:
    version, machine, processor, *libraries = build_name().split("/")
    assert version == f"{oddtide.__version__}+{code_digest()}"
    assert machine
    assert processor
    assert f"numpy-{np.__version__}" in libraries
    assert [library.split("-")[0] for library in libraries] == ["numpy", "numba", "river", "pyod"]


def test_the_digest_changes_with_the_code_that_decides_and_no_other(tmp_path: Path) -> None:
    for name in ("domain/detection/a.py", "streams/pipeline/b.py", "config/c.py"):
        file = tmp_path / name
        file.parent.mkdir(parents=True)
        file.write_text("x = 1\n")
    before = code_digest(tmp_path)
    (tmp_path / "config/c.py").write_text("x = 2\n")
    assert code_digest(tmp_path) == before
    (tmp_path / "domain/detection/a.py").write_text("x = 2\n")
    assert code_digest(tmp_path) != before
