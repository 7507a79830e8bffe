"""The documentation is current, its links lead somewhere, and its checker notices what it should."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from oddtide.domain.quality.contract import Contract, FeatureRule
from oddtide.streams.codecs.decoded import Record
from oddtide.streams.codecs.readings import ReadingDecoder
from tests.packaging import blocks as checker
from tests.packaging.pages import PAGES, outdated, write
from tests.packaging.tree import ROOT

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def test_the_generated_pages_say_what_the_code_says() -> None:
    assert outdated() == []


def test_a_changed_page_is_noticed(tmp_path: Path) -> None:
    write(tmp_path)
    page = tmp_path / "docs" / "rejections.md"
    page.write_text(page.read_text() + "\nBy hand.\n")

    assert outdated(tmp_path) == ["docs/rejections.md"]
    assert set(PAGES) == {path.relative_to(tmp_path).as_posix() for path in (tmp_path / "docs").iterdir()}


@pytest.mark.parametrize("page", checker.pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    broken = [
        target
        for target in LINK.findall(re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL))
        if not re.match(r"https?://", target) and not leads_somewhere(page, target)
    ]

    assert broken == []


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        ("```python\nimport oddtide.nothing\n```", "No module named 'oddtide.nothing'"),
        ("```toml\n[alerts]\nquiet = 3\n```", "quiet_s"),
        ("```console\n$ oddtide detekt file.csv\n```", "needs a command"),
        ("```console\n$ oddtide detect --no-such file.csv\n```", "no option --no-such"),
        ("<!-- run -->\n```console\n$ echo one\ntwo\n```", "printed something else"),
        ("<!-- run -->\n```console\n$ cat nowhere\n```", "exit code 1"),
    ],
)
def test_a_wrong_block_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, block: str, problem: str) -> None:
    (found,) = check(monkeypatch, tmp_path, f"Text.\n\n{block}\n")

    assert found.startswith(("page.md:3:", "page.md:4:"))
    assert problem in found


@pytest.mark.parametrize(
    "block",
    [
        "```python\nimport oddtide\n```",
        "```toml\n[alerts]\nquiet_s = 3.0\n```",
        "```console\n$ oddtide detect readings.csv --all | head\n```",
        "<!-- run -->\n```console\n$ printf 'one\\ntwo\\n' \\\n  > file\n$ cat file\none\n...\n```",
        "<!-- not run: needs nothing -->\n```python\n1 / 0\n```",
        "<!-- run: kafka -->\n```console\n$ exit 1\n```",
    ],
)
def test_a_right_block_passes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, block: str) -> None:
    assert check(monkeypatch, tmp_path, f"{block}\n") == []


def test_the_forms_that_producers_are_shown_are_readings() -> None:
    contract = Contract(features=tuple(FeatureRule(name, required=False) for name in ("value", "pressure", "flow")))
    forms = [block for block in checker.blocks(ROOT / "docs" / "producers.md") if block.kind == "json"]
    records = [Record(offset, 1_769_860_800_000, b"pump-1", b.body.encode()) for offset, b in enumerate(forms)]

    decoded = ReadingDecoder(contract).decode(records)

    assert decoded.refusals == []
    assert len(decoded.readings) == len(forms) + 1
    assert set(decoded.readings.series) == {"pump-1", "office"}


def check(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> list[str]:
    monkeypatch.setattr(checker, "ROOT", folder)
    page = folder / "page.md"
    page.write_text(text)
    return checker.check_page(page)


def leads_somewhere(page: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    file = (page.parent / path).resolve() if path else page
    return file.exists() and (not anchor or anchor in anchors(file.read_text()))


def anchors(text: str) -> set[str]:
    """As GitHub makes them from headings."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
