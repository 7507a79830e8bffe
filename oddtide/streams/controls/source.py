"""What a control needs to take effect: the plan of a published version, a model's artifact.

Whoever folds a partition's log again (a new owner, a replay) reads the controls from its ledger and gets the content
here: feedback and planned work are in the control itself. A replay does, for each ledger record in order::

    source = ControlSource(pipelines, artifacts)    # pipelines: PublishedPipelines folded to the end of its topic
    first = source.plan(stream, in_force.pipeline)  # or the `pipeline` of the ledger's first control
    processor = PartitionProcessor(first, toolkit, application=…, partition=…)
    ...
    for control in batch.controls:                  # before the record at control.offset
        source.apply(processor, control)
    processor.fold(records)                         # of that batch, or cut anywhere but across a control's offset
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from oddtide.domain.errors import ConfigurationError
from oddtide.domain.observability.controls import ControlApplied, ControlsInForce
from oddtide.streams.controls.pipelines import PublishedPipelines
from oddtide.streams.pipeline.plan import StreamPlan
from oddtide.streams.pipeline.processor import PartitionProcessor
from oddtide.streams.ports import Artifacts

__all__ = ["ControlContent", "ControlSource"]


class ControlContent(NamedTuple):
    """What :meth:`PartitionProcessor.apply` takes beside the control."""

    artifact: bytes = b""
    plan: StreamPlan | None = None


class ControlSource:
    """Contents of controls, and putting them in force."""

    def __init__(self, pipelines: PublishedPipelines, artifacts: Artifacts) -> None:
        self._pipelines = pipelines
        self._artifacts = artifacts

    def plan(self, stream: str, version: str) -> StreamPlan:
        """The plan of a published version. Raises ``NotFoundError``, or ``ConfigurationError`` where this build cannot
        read it."""
        return self._pipelines.plan(stream, version)

    def content(self, stream: str, control: ControlApplied) -> ControlContent:
        """What ``control`` needs. May read a file or a store: from a coroutine, call it in a thread.

        Raises ``NotFoundError`` and what :class:`Artifacts` raises."""
        if control.kind == "pipeline":
            return ControlContent(plan=self.plan(stream, control.pipeline))
        if control.kind == "model":
            return ControlContent(artifact=self._artifacts.get(control.artifact, control.digest))
        return ControlContent()

    def apply(self, processor: PartitionProcessor, control: ControlApplied) -> None:
        """Put ``control`` in force in ``processor`` now. Raises as :meth:`content` does, and ``ConfigurationError``
        where the plan needs something that is not here; nothing has changed then."""
        _apply(processor, control, self.content(processor.plan.name, control))

    async def apply_soon(self, processor: PartitionProcessor, control: ControlApplied) -> None:
        """The same from a coroutine: what has to be read is read in a thread."""
        content = await asyncio.to_thread(self.content, processor.plan.name, control)
        _apply(processor, control, content)

    def resume(self, processor: PartitionProcessor, in_force: ControlsInForce) -> None:
        """Give a processor, made with the plan of ``in_force.pipeline``, everything else that was in force where its
        state was saved. Raises as :meth:`content` does."""
        stream = processor.plan.name
        artifacts = {name: self.content(stream, model).artifact for name, model in in_force.models.items()}
        processor.resume(in_force, artifacts)


def _apply(processor: PartitionProcessor, control: ControlApplied, content: ControlContent) -> None:
    try:
        processor.apply(control, *content)
    except ConfigurationError as error:
        if control.kind != "pipeline":
            raise
        raise type(error)(
            f"The published pipeline {control.pipeline} of the stream {processor.plan.name!r} cannot run here: "
            f"{error.problem}",
            remedy=f"{error.remedy} Then start the worker again, or publish another version.".strip(),
        ) from error
