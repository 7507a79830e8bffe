"""The whole suite in two lanes beside one another: ``python -m tests.lanes``, what ``make test`` runs.

Tests that have a worker on a real Kafka mostly wait: for a broker to start, a session to end. The others compute. One
after the other they left more than one of two cores idle for twenty minutes. So the second lane computes beside the
first: the kernels' tests once more, uncompiled, since coverage cannot see into compiled loops; then every folder that
the first lane does not name. It is nice to the first, which thereby keeps the core that it had, and has patience with
itself. What it says comes when both are done; the last line counts both, as pytest would.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import IO

__all__ = ["FIRST", "folders", "main", "total"]

#: In this order: the first one compiles, and so keeps on disk, what workers need when they start.
FIRST = ("conformance", "integration", "torture")
TESTS = Path(__file__).parent
#: Integers wrap on purpose. Measurements of quality take many readings and cover nothing more.
UNCOMPILED = (
    "-q", "--no-header", "-m", "kernels", "-W", "ignore:overflow encountered:RuntimeWarning",
    "-k", "not rivers_on_shuttle and not on_real_series and not on_gaussian_noise",
)  # fmt: skip
#: A third of a core that both lanes want; more, and its tests would outlast their patience.
_NICE = 5
_ASIDE = ("-p", "no:cacheprovider", "--timeout", "600")
_CLOSING = re.compile(r"^(?P<ruler>=+ )?(?P<counts>(\d+ \w+(, )?)+|no tests ran) in [\d.]+s\b")
_COUNT = re.compile(r"(\d+) (passed|failed|skipped|errors?|xfailed|warnings?)")
_WRONG = ("failed", "error", "errors")
_ORDER = ("failed", "passed", "skipped", "xfailed", "warnings", "errors")


def folders() -> list[str]:
    """The folders of the second lane: all that have tests and are not in the first."""
    return sorted({file.parent.name for file in TESTS.glob("*/test_*.py")} - set(FIRST))


def main(arguments: list[str] | None = None) -> int:
    """Run both lanes, or with the argument ``second`` that one; returns 0 where every test of it passed."""
    if (sys.argv[1:] if arguments is None else arguments) == ["second"]:
        os.nice(_NICE)
        uncompiled = _pytest(*UNCOMPILED, *_ASIDE, environment={"NUMBA_DISABLE_JIT": "1"})
        return _worst([uncompiled, _pytest(*_ASIDE, *(f"tests/{name}" for name in folders()))])
    began = time.monotonic()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        command = [sys.executable, "-m", "tests.lanes", "second"]
        second = subprocess.Popen(command, cwd=TESTS.parent, stdout=log, stderr=subprocess.STDOUT)
        try:
            first = subprocess.Popen(
                _command(*(f"tests/{name}" for name in FIRST)),
                cwd=TESTS.parent,
                stdout=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
            )
            closing = _shown(first.stdout or ())
            codes = [first.wait(), second.wait()]
        finally:
            second.terminate()
            second.wait()
        print("\n# beside it: kernels once more, uncompiled; then", *folders())
        log.seek(0)
        closing += _shown(log)
    print(total(closing, time.monotonic() - began))
    return _worst(codes)


def total(closing: Iterable[str], seconds: float) -> str:
    """One closing line for several of pytest's. Of quiet runs, which have no ruler, only what went wrong counts: what
    they ran is among what the others ran."""
    counts: Counter[str] = Counter()
    for line in closing:
        found = _CLOSING.match(line)
        for number, what in _COUNT.findall(found["counts"]) if found else ():
            if found and (found["ruler"] or what in _WRONG):
                counts[{"error": "errors", "warning": "warnings"}.get(what, what)] += int(number)
    said = ", ".join(f"{counts[what]} {what}" for what in _ORDER if counts[what]) or "no tests ran"
    return f" {said} in {seconds:.2f}s ".center(80, "=")


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "coverage", "run", "-m", "pytest", *arguments]


def _pytest(*arguments: str, environment: dict[str, str] | None = None) -> int:
    return subprocess.run(
        _command(*arguments), cwd=TESTS.parent, env={**os.environ, **(environment or {})}, check=False
    ).returncode  # fmt: skip


def _shown(lines: IO[str] | tuple[()]) -> list[str]:
    """Print ``lines`` as they come; returns those that close a run."""
    closing = []
    for line in lines:
        print(line, end="", flush=True)
        if _CLOSING.match(line):
            closing.append(line)
    return closing


def _worst(codes: list[int]) -> int:
    return next((code for code in codes if code), 0)


if __name__ == "__main__":
    sys.exit(main())
