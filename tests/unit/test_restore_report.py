"""The lines that a worker writes while it restores."""

from __future__ import annotations

from structlog.testing import capture_logs

from oddtide.streams.progress import ProgressBoard
from oddtide.streams.restore_report import RestoreReport


def test_a_line_every_two_seconds_and_one_at_the_end() -> None:
    now = [0.0]
    board = ProgressBoard(lambda: now[0])
    report = RestoreReport(lambda: now[0])
    with capture_logs() as lines:
        report.tell(board.snapshot())
        board.restoring("plant", "r", 0, 0, 1_000)
        board.restoring("plant", "r", 1, 0, 3_000)
        board.place("plant", "r", 2, "running", position=5)
        for second in range(5):
            now[0] = float(second)
            board.place("plant", "r", 1, "restoring", position=100 * second)
            report.tell(board.snapshot())
        board.place("plant", "r", 0, "running", position=1_000)
        board.place("plant", "r", 1, "running", position=3_000)
        now[0] = 5.5
        report.tell(board.snapshot())
        report.tell(board.snapshot())
    first = {
        "event": "restoring", "log_level": "info", "partitions": "2 of 3", "done": "5%", "records_left": 3_800,
        "records_per_s": 100, "about_s": 38, "farthest": "r[1]",
    }  # fmt: skip
    assert [line["event"] for line in lines] == ["restoring", "restoring", "restored"]
    assert lines[0] == first
    assert lines[-1]["seconds"] == 5.5


def test_what_is_done_within_two_seconds_is_not_worth_a_line_on_the_way() -> None:
    now = [0.0]
    board = ProgressBoard(lambda: now[0])
    report = RestoreReport(lambda: now[0])
    with capture_logs() as lines:
        board.restoring("plant", "r", 0, 0, 1_000)
        report.tell(board.snapshot())
        now[0] = 1.0
        report.tell(board.snapshot())
        board.drop("r", 0)
        report.tell(board.snapshot())
    assert lines == []


def test_nothing_is_promised_before_the_first_record() -> None:
    now = [0.0]
    board = ProgressBoard(lambda: now[0])
    report = RestoreReport(lambda: now[0], every_s=0.0)
    with capture_logs() as lines:
        board.restoring("plant", "r", 0, 0, 1_000)
        report.tell(board.snapshot())
        report.tell(board.snapshot())
    assert lines[0]["about_s"] is None
