"""The README opens with the two commands that a new user needs."""

from __future__ import annotations

import re

from tests.packaging.tree import ROOT


def test_the_first_code_block_is_exactly_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text()
    block = re.search(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)

    assert block is not None
    assert block[1].splitlines() == ["$ make demo", "$ make test"]
    assert len(text[: block.start()].split()) < 80
