"""What a group's reader tells the group, and when it tries again: on a group that does as the test says."""

from __future__ import annotations

from typing import cast

import pytest
from kafka import KafkaConsumer, TopicPartition, errors
from kafka.structs import OffsetAndMetadata

from oddtide.adapters.kafka import group_progress
from oddtide.adapters.kafka.group_progress import GroupProgress


class Rebalancing:
    """A group whose first commits fail, as they do while it shares out its partitions anew."""

    def __init__(self, *failures: Exception, owned: bool = True) -> None:
        self.failures = list(failures)
        self.owned = owned
        self.committed: dict[TopicPartition, int] = {}
        self.polls = self.rejoins = 0

    @property
    def _coordinator(self) -> Rebalancing:
        return self

    def request_rejoin(self) -> None:
        self.rejoins += 1

    def assignment(self) -> set[TopicPartition]:
        return {TopicPartition("t", 0)} if self.owned else set()

    def commit(self, offsets: dict[TopicPartition, OffsetAndMetadata], timeout_ms: int) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.committed |= {where: at.offset for where, at in offsets.items()}

    def poll(self, timeout_ms: int) -> None:
        self.polls += 1
        self.owned = True


def progress_of(group: Rebalancing) -> GroupProgress:
    made = GroupProgress(cast("KafkaConsumer", group))
    made.done(TopicPartition("t", 0), 6)
    made.done(TopicPartition("t", 1), 8)
    return made


def test_what_is_done_waits_while_the_group_rebalances() -> None:
    group = Rebalancing(errors.RebalanceInProgressError(), errors.KafkaTimeoutError())
    progress_of(group).settle()
    assert group.committed == {TopicPartition("t", 0): 7}, "partition 1 is another's now"
    assert group.polls == 2
    assert group.rejoins == 1


def test_what_is_done_waits_for_the_partitions_to_come_back() -> None:
    group = Rebalancing(owned=False)
    assert GroupProgress(cast("KafkaConsumer", group)).commit() is True
    progress_of(group).settle()
    assert group.committed == {TopicPartition("t", 0): 7}


def test_who_was_thrown_out_of_a_group_lets_go() -> None:
    group = Rebalancing(errors.CommitFailedError())
    progress = progress_of(group)
    assert progress.commit() is True
    assert progress.commit() is True
    assert group.committed == {}


def test_settling_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_progress, "_SETTLE_S", 0.0)
    group = Rebalancing(errors.RebalanceInProgressError(), errors.RebalanceInProgressError())
    progress_of(group).settle()
    assert group.committed == {}
