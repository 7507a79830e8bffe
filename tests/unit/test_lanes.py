"""The suite in two lanes: no folder is forgotten, and its closing line is pytest's."""

from __future__ import annotations

import pytest

from tests.lanes import FIRST, TESTS, folders, total


def test_every_folder_is_in_one_lane() -> None:
    lanes = [*FIRST, *folders()]
    assert sorted(lanes) == sorted({file.relative_to(TESTS).parts[0] for file in TESTS.rglob("test_*.py")})


@pytest.mark.parametrize(
    ("closing", "expected"),
    [
        (
            [
                "481 passed, 2510 deselected in 109.96s (0:01:49)",
                "====== 1 failed, 700 passed, 1 skipped in 602.04s (0:10:02) ======",
                "====== 2290 passed, 1 error in 1.00s ======\n",
            ],
            "= 1 failed, 2990 passed, 1 skipped, 1 errors in 700.50s =",
        ),
        (["2 failed, 479 passed in 109.96s", "=== 5 passed in 1.00s ==="], "= 2 failed, 5 passed in 700.50s ="),
        ([], "= no tests ran in 700.50s ="),
    ],
)
def test_the_closing_line_counts_all(closing: list[str], expected: str) -> None:
    assert expected in total(closing, 700.5)
