"""The command line. A command's module is imported when that command runs, never for ``--help``.

Data goes to stdout, everything else to stderr. Exit codes: 0 ok, 1 failure, 2 usage, 3 not found, 4 invalid
configuration or contract, 5 dependency unreachable, 6 check failed, 7 a promise cannot be kept, 130 interrupted.
"""

from __future__ import annotations

import sys

from oddtide.config.cli.group import Entry, LazyGroup, root_group

__all__ = ["COMMANDS", "cli", "main"]

_HERE = "oddtide.config.cli"

#: Every command: where it is defined, what it does in one line, the panel of ``oddtide --help`` that shows it.
COMMANDS: dict[str, Entry] = {
    "demo": Entry(f"{_HERE}.demo:demo", "Everything at once on real data: Kafka, worker, detections.", "Start here"),
    "detect": Entry(
        f"{_HERE}.detect:detect", "Find the anomalies in a CSV or JSON-lines file; no Kafka.", "Start here"
    ),
    "compare": Entry(
        f"{_HERE}.compare:compare", "Detectors side by side on a file's readings; no Kafka.", "Start here"
    ),
    "up": Entry(f"{_HERE}.up:up", "Start the embedded Kafka, create the topics, run a worker.", "Run"),
    "down": Entry(f"{_HERE}.up:down", "Stop the embedded Kafka.", "Run"),
    "worker": Entry(f"{_HERE}.worker:worker", "Run a worker, or several.", "Run"),
    "status": Entry(f"{_HERE}.status:status", "Cluster, topics, workers, who owns what, lag, counts.", "Run"),
    "doctor": Entry(f"{_HERE}.doctor:doctor", "Check everything that oddtide stands on; say the remedy.", "Run"),
    "lag": Entry(f"{_HERE}.lag:lag", "How far each consumer is behind, per partition.", "Run"),
    "produce": Entry(f"{_HERE}.produce:produce", "Push readings from a CSV or JSON-lines file.", "Data"),
    "warm": Entry(f"{_HERE}.warm:warm", "Load history: learnt, and raising no alarm.", "Data"),
    "tail": Entry(f"{_HERE}.tail:tail", "Follow a topic, decoded.", "Data"),
    "deadletters": Entry(f"{_HERE}.deadletters:deadletters", "Rejected input: list, show, retry.", "Data"),
    "topics": Entry(f"{_HERE}.topics:topics", "The topics: list, create, describe.", "Data"),
    "schemas": Entry(f"{_HERE}.schemas:schemas", "JSON Schemas and AsyncAPI of every event.", "Data"),
    "ledger": Entry(f"{_HERE}.ledger:ledger", "What became of every reading: show it, add it up.", "Results"),
    "replay": Entry(
        f"{_HERE}.replay:replay", "Compute history anew: verify it, or try other settings on it.", "Results"
    ),
    "alerts": Entry(f"{_HERE}.alerts:alerts", "Alerts: list, show, acknowledge, resolve.", "Results"),
    "explain": Entry(f"{_HERE}.explain:explain", "Why a reading was judged as it was, in words.", "Results"),
    "feedback": Entry(f"{_HERE}.feedback:feedback", "Say whether a detection was right.", "Results"),
    "planned-work": Entry(
        f"{_HERE}.planned_work:planned_work", "Declare planned work: readings that shall wake nobody.", "Results"
    ),
    "models": Entry(f"{_HERE}.models:models", "Models: list, show, train, promote.", "Results"),
    "projections": Entry(f"{_HERE}.projections:projections", "Read models: status, rebuild.", "Results"),
    "pipelines": Entry(
        f"{_HERE}.pipelines:pipelines", "Published settings of streams: list, show, diff, publish.", "Settings"
    ),
    "config": Entry(f"{_HERE}.config:config", "Settings: show, validate, schema.", "Settings"),
    "completion": Entry(f"{_HERE}.completion:completion", "Shell completion script.", "Settings"),
}

cli: LazyGroup = root_group(COMMANDS)


def main() -> None:
    """The console script."""
    sys.exit(cli.main(prog_name="oddtide"))
