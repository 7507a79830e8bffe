"""Observability: from what the agents say to what a person is told.

The other agents state facts by the thousand: a detection per strange reading, a violation per broken rule, a
heartbeat every few seconds. Nobody can act on thousands of facts. This domain turns them into few things that
somebody can act on, and keeps the books that prove nothing was lost on the way.

**Episodes and alerts.** Strange readings come in runs: a pump that fails is strange for an hour. One run of one kind
on one series is an *episode*, and an episode is one *alert*, however many causes it has. The alert opens with the
first cause, is updated as the causes go on (ever more rarely: at 2, 5, 10, 20, 50 ...), and resolves when no cause came
for the *quiet time*, or when a person says so. A cause after that opens a new one. See :mod:`.alerts`.

**Decisions are events.** Grouping causes mixes partitions and reads the clock, so it can't be redone by whoever reads
the log later and come out the same. It is therefore decided once, by one agent, and logged; everything else folds
what was logged. To decide again after a crash is harmless: an alert's id derives from its first cause, and the
position that a decision followed from is part of the log, so causes already decided on decide nothing.

**Health.** Workers say that they live (heartbeats); silence is noticed by others and said once (:mod:`.health`). A
worker's own counters (:mod:`.progress`) feed heartbeats and metrics, but are not the truth about readings.

**The ledger.** The truth about readings is one record per batch that says what became of each of them, and that adds
up (:mod:`.ledger`): a break in it is itself an alert.

**Controls.** What alters verdicts from outside (another pipeline version, a model, feedback, planned work) takes effect
at an offset that the ledger names (:mod:`.controls`), so that a replay finds it there.

**Telling people.** A *notification* is a side effect of an alert, sent at least once and never on a rebuild of state
(:mod:`.notifications`). What to tell is decided here, how to deliver it elsewhere.
"""

from oddtide.domain.observability.alerts import AlertDecider
from oddtide.domain.observability.controls import ControlApplied, ControlsInForce
from oddtide.domain.observability.health import LedgerAudit, SilenceWatch
from oddtide.domain.observability.ledger import BatchCompleted, check_batch, check_succession
from oddtide.domain.observability.notifications import Channel, Delivery, Notification, Notifier, Outbox, RetryPolicy
from oddtide.domain.observability.policy import AlertPolicy, Cause
from oddtide.domain.observability.progress import WorkerProgress

__all__ = [
    "AlertDecider",
    "AlertPolicy",
    "BatchCompleted",
    "Cause",
    "Channel",
    "ControlApplied",
    "ControlsInForce",
    "Delivery",
    "LedgerAudit",
    "Notification",
    "Notifier",
    "Outbox",
    "RetryPolicy",
    "SilenceWatch",
    "WorkerProgress",
    "check_batch",
    "check_succession",
]
