"""The kill tests, bounded: every kind of harm once, several at a time on one Kafka; the one that harms Kafka has its
own. At length: ``make torture``."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from oddtide.adapters.embedded import EmbeddedBroker
from tests.torture.running import Place, Report, Scenario, play
from tests.torture.scenarios import scenarios

QUICK = [name for name, scenario in scenarios().items() if scenario.quick]
#: Workers wait for sessions to end more than they work, so that two cores bear this many scenarios at once.
AT_ONCE = 4

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def reports(kafka: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> dict[str, Report]:
    """What each chosen scenario left behind."""
    here = [item for item in request.session.items if isinstance(item, pytest.Function) and item.path == request.path]
    wanted = [str(item.callspec.params["name"]) for item in here if hasattr(item, "callspec")]
    return asyncio.run(_play_all(kafka, tmp_path_factory.mktemp("torture"), wanted))


async def _play_all(kafka: str, folder: Path, names: list[str]) -> dict[str, Report]:
    free = asyncio.Semaphore(AT_ONCE)

    async def one(name: str) -> Report:
        scenario, place = scenarios()[name], Place(kafka, f"torture-{name}-{folder.name}", folder / name)
        async with free:
            return await (_play_on_its_own(scenario, place) if scenario.own_kafka else play(scenario, place))

    names = sorted(names, key=lambda name: not scenarios()[name].own_kafka)  # the longest one first
    return dict(zip(names, await asyncio.gather(*map(one, names)), strict=True))


async def _play_on_its_own(scenario: Scenario, place: Place) -> Report:
    broker = EmbeddedBroker(place.folder / "kafka", port=0)
    try:
        return await play(scenario, replace(place, kafka=await asyncio.to_thread(broker.start), broker=broker))
    finally:
        await asyncio.to_thread(broker.stop)


@pytest.mark.parametrize("name", QUICK)
def test_no_harm_changes_what_a_consumer_sees(name: str, reports: dict[str, Report]) -> None:
    report = reports[name]
    assert not report.problems, "\n".join(report.problems)
    assert report.findings.verdicts > 0
