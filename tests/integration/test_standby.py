"""A worker that may not project yet does so once nobody else does."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from mode import Service

from oddtide.domain.errors import StorageUnavailableError
from oddtide.domain.mlops.events import ModelRegistered
from oddtide.streams.parts import WorkerParts
from oddtide.streams.standby import Standby
from oddtide.streams.worker import _Host
from tests.integration.agents_kit import Application, Memory, eventually, running


async def test_it_takes_over_when_the_projecting_one_is_gone(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    application = Application(kafka, topic_prefix, tmp_path, partitions=1)
    await application.create()
    context, memory = application.context(instance_id="a"), Memory()
    answers: list[Any] = [StorageUnavailableError("away."), None]

    def take_over() -> WorkerParts | None:
        answer = answers.pop(0) if answers else replace(parts, read_models=memory)
        if isinstance(answer, Exception):
            raise answer
        taken: WorkerParts | None = answer
        return taken

    parts = application.parts()
    waiting = replace(parts, take_over=take_over)
    built: list[str] = []

    def build(role: str, parts: WorkerParts) -> Service:
        built.append(role)
        service: Service = import_module(f"oddtide.streams.agents.{role}").build(context, parts)
        return service

    roles = {"mlops": build("mlops", waiting)}
    before = roles["mlops"]
    host = _Host([before])
    host.add_dependency(Standby(host, roles, waiting, build, every_s=0.2))
    async with running(host):
        await application.publish(
            "models", [ModelRegistered(model="m", stream="s", algorithm="HBOS", time="2026-01-01T00:00:00Z")]
        )

        async def folded() -> int:
            return len(memory.events.get("mlops", []))

        assert await eventually(folded, lambda count: count == 1) == 1
        assert built == ["mlops", "mlops"]
        assert roles["mlops"] is not before
        assert not host.crashed


async def test_without_anything_to_take_over_it_waits_for_ever() -> None:
    anything: Any = None
    parts = WorkerParts((), anything, anything, anything)
    assert await Standby(_Host([]), {}, parts, anything)._take_over() is None
