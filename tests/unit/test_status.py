"""``oddtide status`` as people see it: once, and again and again."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from oddtide.config import overview as module
from oddtide.config.cli import output, status
from oddtide.config.cli.status_view import duration, headlines, partition_rows, screen, worker_rows
from oddtide.config.overview import Watch
from oddtide.domain.errors import BrokerUnreachableError


def seen(lag: int = 40, readings: int = 100, **changes: Any) -> dict[str, Any]:
    worker = {
        "worker": "w1", "state": "running", "roles": ["ingest"], "heartbeat_age_s": 1.0, "readings_per_s": 10.0,
        "memory_mib": 80.0, "series": 3, "asleep": 0,
    }  # fmt: skip
    place = {"topic": "r", "owner": "w1", "position": 60, "end": 100, "lag": lag}
    return {
        "cluster": {"bootstrap": "k:9092", "brokers": 1, "kind": "external"},
        "topics": {"declared": 12, "missing": 0, "different": 0},
        "lag": lag,
        "counts": {"readings": readings, "scored": readings},
        "alerts": 2,
        "workers": [worker, {**worker, "worker": "w0", "state": "lost", "heartbeat_age_s": 7_000.0}],
        "partitions": [
            {**place, "partition": 0, "state": "running", "restored": 1.0, "eta_s": 0.0},
            {**place, "partition": 1, "state": "restoring", "restored": 0.4, "eta_s": 150.0},
            {**place, "partition": 2, "state": "restoring", "restored": 0.0, "eta_s": -1.0},
        ],
        "problems": [],
        **changes,
    }


def test_partitions_say_how_far_their_restoration_is() -> None:
    states = [row["state"] for row in partition_rows(seen())]
    assert states == ["running", "restoring 40%, 2 min to go", "restoring 0%"]


def test_a_worker_that_ended_long_ago_is_no_news() -> None:
    assert [row["worker"] for row in worker_rows(seen())] == ["w1"]


@pytest.mark.parametrize("state", ["stopped", "lost"])
def test_a_worker_that_ended_lately_does_nothing_any_more(state: str) -> None:
    found = seen()
    found["workers"][0]["state"] = state
    (row,) = worker_rows(found)
    assert (row["worker"], row["readings_per_s"], row["memory_mib"], row["series"]) == ("w1", None, None, None)


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ({}, "40 records to go"),
        ({"lag": -8.0}, "40 records to go, gone in about 5 s"),
        ({"lag": 8.0}, "40 records to go, growing by 8/s"),
        ({"lag": 0.0}, "40 records to go"),
    ],
)
def test_the_lag_says_where_it_goes(rates: dict[str, float], expected: str) -> None:
    assert dict(headlines(seen(rates=rates)))["Lag"] == expected


def test_counts_come_with_their_rates() -> None:
    lines = dict(headlines(seen(rates={"readings": 1_234.0}, alerts=None)))
    assert lines["Readings"] == "100 readings (1,234/s), 100 scored"
    assert lines["Alerts"] == "unknown open"


@pytest.mark.parametrize(("seconds", "text"), [(3, "3 s"), (600, "10 min"), (7_200, "2.0 h")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_looking_again_gives_rates_and_survives_a_kafka_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    answers: list[Any] = [seen(), seen(20, 300), BrokerUnreachableError("No Kafka."), seen(0, 400)]

    def overview(composition: Any) -> dict[str, Any]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        found: dict[str, Any] = answer
        return found

    monkeypatch.setattr(module, "overview", overview)
    anything: Any = None
    watch = Watch(anything, lambda: now[0])
    assert watch.look()["rates"] == {}
    now[0] = 2.0
    assert watch.look()["rates"] == {"readings": 100.0, "scored": 100.0, "lag": -10.0}
    away = watch.look()
    assert (away["lag"], away["rates"], away["problems"]) == (20, {}, ["No Kafka."])
    now[0] = 4.0
    assert watch.look()["rates"]["readings"] == 50.0


def test_the_first_look_must_succeed(monkeypatch: pytest.MonkeyPatch) -> None:
    def overview(composition: Any) -> dict[str, Any]:
        raise BrokerUnreachableError("No Kafka.")

    monkeypatch.setattr(module, "overview", overview)
    anything: Any = None
    with pytest.raises(BrokerUnreachableError):
        Watch(anything).look()


def test_on_a_terminal_it_is_drawn_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, width=120, height=40)
    monkeypatch.setattr(output, "console", lambda: terminal)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("oddtide.config.cli.status.time.sleep", sleep)
    looks = [seen(), seen(problems=["No Kafka."])]
    with pytest.raises(KeyboardInterrupt):
        status._live(lambda: looks.pop(0), 0.5)
    assert isinstance(terminal.file, io.StringIO)
    drawn = terminal.file.getvalue()
    assert "\x1b[?1049h" in drawn
    assert "restoring 40%" in drawn
    assert "No Kafka." in drawn
    assert drawn.endswith("\x1b[?1049l"), "and then the screen is as it was before"


def test_markup_in_names_is_text() -> None:
    terminal = Console(file=io.StringIO(), width=120)
    terminal.print(screen(seen(problems=["[red]odd[/red]"])))
    assert isinstance(terminal.file, io.StringIO)
    assert "[red]odd[/red]" in terminal.file.getvalue()
