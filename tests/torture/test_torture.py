"""The kill tests, bounded: every kind of harm once, several at a time on one Kafka. At length: ``make torture``."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from oddtide.adapters.embedded import EmbeddedBroker
from tests.torture.running import Place, Report, play
from tests.torture.scenarios import scenarios

SHARED = [name for name, scenario in scenarios().items() if scenario.quick and not scenario.own_kafka]
#: Workers wait for sessions to end more than they work, so that two cores bear this many scenarios at once.
AT_ONCE = 4

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def reports(kafka: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> dict[str, Report]:
    """What each chosen scenario left behind."""
    here = [item for item in request.session.items if isinstance(item, pytest.Function) and item.path == request.path]
    wanted = [str(item.callspec.params["name"]) for item in here if hasattr(item, "callspec")]
    return asyncio.run(_play_all(kafka, tmp_path_factory.mktemp("torture"), wanted))


async def _play_all(kafka: str, folder: Path, names: list[str]) -> dict[str, Report]:
    free = asyncio.Semaphore(AT_ONCE)

    async def one(name: str) -> Report:
        async with free:
            return await play(scenarios()[name], Place(kafka, f"torture-{name}-{folder.name}", folder / name))

    return dict(zip(names, await asyncio.gather(*map(one, names)), strict=True))


@pytest.mark.parametrize("name", SHARED)
def test_no_harm_changes_what_a_consumer_sees(name: str, reports: dict[str, Report]) -> None:
    report = reports[name]
    assert report.problems == []
    assert report.findings.verdicts > 0


async def test_kafka_killed_under_its_workers(tmp_path: Path, topic_prefix: str) -> None:
    broker = EmbeddedBroker(tmp_path / "kafka", port=0)
    try:
        place = Place(broker.start(), topic_prefix, tmp_path, broker=broker)
        report = await play(scenarios()["kafka"], place)
    finally:
        broker.stop()
    assert report.problems == []
    assert report.broker_kills == 2
