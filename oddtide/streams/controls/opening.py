"""Which pipeline a worker starts with: the first one publishes what its settings say, others must say the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer

from oddtide.domain.errors import ConfigurationError
from oddtide.domain.observability.controls import PipelinePublished
from oddtide.domain.readings import rfc3339
from oddtide.streams.broker import BrokerAccess
from oddtide.streams.controls.pipelines import PublishedPipelines, pipeline_key, plan_content, plan_of
from oddtide.streams.envelope import derive_id, seal
from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.topics import TopicCatalogue

__all__ = ["check_pipelines", "publication", "publish_missing"]


def publication(
    plan: StreamPlan, partitions: int, *, by: str, time: str, settings: Mapping[str, Any], note: str = "",
    replaces: str = "",
) -> PipelinePublished:  # fmt: skip
    """The event that publishes ``plan``. Raises as :func:`plan_content` does."""
    return PipelinePublished(
        stream=plan.name, version=plan.version, topic=plan.topic, partitions=partitions, plan=plan_content(plan), by=by,
        time=time, settings=dict(settings), note=note, replaces=replaces,
    )  # fmt: skip


async def publish_missing(
    broker: BrokerAccess,
    catalogue: TopicCatalogue,
    plans: Sequence[StreamPlan],
    published: PublishedPipelines,
    *,
    worker: str,
    clock: Callable[[], int],
    settings: Mapping[str, Mapping[str, Any]],
) -> bool:
    """Publish the pipeline of each stream that never had one; whether there was any.

    Two workers that start at once may both do so. Where their settings differ the later one is in force, and the
    other follows it as it follows any published change."""
    missing = [plan for plan in plans if published.newest(plan.name) is None]
    if not missing:
        return False
    partitions = {stream: count for stream, _, count in catalogue.streams}
    time = rfc3339(clock())
    async with AIOKafkaProducer(**broker.aiokafka_options(), acks="all", enable_idempotence=True) as producer:
        for plan in missing:
            event = publication(
                plan, partitions[plan.name], by=worker, time=time, settings=settings.get(plan.name, {}),
                note="the first worker's settings",
            )  # fmt: skip
            key = pipeline_key(event)
            value, headers = seal(
                event, id=derive_id("pipeline", key, time), source=f"/{worker}", subject=key, time=time
            )
            topic = catalogue.name("pipelines")
            await producer.send_and_wait(topic, value, key=key.encode(), headers=headers, partition=0)
    return True


def check_pipelines(plans: Sequence[StreamPlan], published: PublishedPipelines) -> None:
    """Refuse settings that say something else than what is in force: raises ``ConfigurationError`` with the remedy.

    A stream that was never published is in order: the first worker publishes it."""
    for plan in plans:
        newest = published.newest(plan.name)
        if newest is not None and plan_content(plan_of(newest)) != plan_content(plan):
            raise ConfigurationError(
                f"The settings give the stream {plan.name!r} the pipeline {plan.digest}; in force is {newest.version}, "
                f"published by {newest.by} at {newest.time}.",
                remedy="`oddtide pipelines diff` shows the difference. `oddtide pipelines publish` puts these settings "
                "in force; otherwise set them as `oddtide pipelines show` says.",
            )
