"""Controls: what alters verdicts from outside takes effect at an offset that the ledger names.

People change a stream's configuration, promote a model, say that a level is the new normal, declare planned work. Each
of these is an event on a topic of its own, and alters verdicts from some reading on. Which reading that is depends on
when a worker hears of the event; so it must be written down where the verdicts are, or the same log would not give the
same verdicts twice.

- The :class:`ControlBoard` of every ingest worker follows the control topics. One file a kind of control folds them
  (:mod:`.pipelines`, :mod:`.models`, :mod:`.feedback`, :mod:`.planned_work`).
- Before each batch of a partition its owner asks what is *due* where so much is in force by now
  (:meth:`Controls.due`), puts it in force at the batch's first offset, and the batch's ledger record lists it, in the
  same transaction as the verdicts.
- Who folds the log again puts each control of the ledger in force at its offset (:mod:`.source`).

The topics say what ought to be in force, the ledger says what is. A control that a crash kept from being committed is
due again at the next batch; one that the ledger has is never due again.
"""

from oddtide.streams.controls.board import ControlBoard, Controls, control_topics
from oddtide.streams.controls.kinds import Place
from oddtide.streams.controls.opening import check_pipelines, publication, publish_missing
from oddtide.streams.controls.pipelines import PublishedPipelines, pipeline_key, plan_content, plan_of
from oddtide.streams.controls.source import ControlContent, ControlSource

__all__ = [
    "ControlBoard",
    "ControlContent",
    "ControlSource",
    "Controls",
    "Place",
    "PublishedPipelines",
    "check_pipelines",
    "control_topics",
    "pipeline_key",
    "plan_content",
    "plan_of",
    "publication",
    "publish_missing",
]
