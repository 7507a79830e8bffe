"""Kill, freeze and starve real workers on a real Kafka, and hold what they published against an undisturbed run.

Every scenario is played once, then again with the next seed as long as the minutes last. Exit code 6 where a promise
was broken. See docs/torture.md.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from oddtide.adapters.embedded import EmbeddedBroker
from tests.torture.reporting import as_json, as_table
from tests.torture.running import Place, Report, Scenario, play
from tests.torture.scenarios import scenarios


def main(argv: list[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    chosen = [scenarios()[name] for name in arguments.scenarios.split(",")]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything started is ended
    with _folder(arguments.keep) as folder:
        reports = list(_played(chosen, folder, arguments))
    print(as_json(reports) if arguments.output == "json" else as_table(reports))
    return 6 if not reports or any(report.problems for report in reports) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make torture", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="begin no further scenario after so long")
    parser.add_argument("--seed", type=int, default=1, help="of the readings and of every random moment")
    parser.add_argument("--rounds", type=int, default=2, help="how often a scenario does its harm, per play")
    parser.add_argument(
        "--scenarios", default=",".join(scenarios()), metavar="A,B", help="which (default: %(default)s)"
    )
    parser.add_argument("--output", choices=["table", "json"], default="table")
    parser.add_argument("--keep", type=Path, help="a folder for logs and data, kept; default: a temporary one")
    return parser


def _played(chosen: list[Scenario], folder: Path, arguments: argparse.Namespace) -> Iterator[Report]:
    with _kafka(folder / "kafka") as shared:
        end = time.monotonic() + 60 * arguments.minutes
        for number in range(1_000_000):
            for scenario in chosen:
                if time.monotonic() > end:
                    return
                seed = arguments.seed + number
                yield _played_once(scenario, shared, folder / f"{scenario.name}-{seed}", seed, arguments.rounds)


def _played_once(scenario: Scenario, shared: EmbeddedBroker, folder: Path, seed: int, rounds: int) -> Report:
    name = f"{folder.name}-{time.time_ns() // 1_000_000}"
    try:
        if not scenario.own_kafka:
            report = asyncio.run(play(scenario, Place(shared.start(), name, folder, seed), times=rounds))
        else:
            with _kafka(folder / "kafka") as own:
                report = asyncio.run(play(scenario, Place(own.start(), name, folder, seed, own), times=rounds))
    except Exception as error:  # one scenario that cannot be played must not hide what the others show
        report = Report(scenario.name, seed, complaints=[f"not played to its end: {error!r}"])
    verdict = "; ".join(report.problems) or "every promise held"
    print(f"{scenario.name}, seed {seed}: {report.kills} kills in {report.seconds:.0f} s: {verdict}", file=sys.stderr)
    return report


@contextmanager
def _kafka(folder: Path) -> Iterator[EmbeddedBroker]:
    broker = EmbeddedBroker(folder, port=0)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


@contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="oddtide-torture-") as name:
        yield Path(name)


if __name__ == "__main__":
    sys.exit(main())
