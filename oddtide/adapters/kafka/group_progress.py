"""How far a reader of a group is, and telling the group."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kafka import KafkaConsumer, TopicPartition

__all__ = ["GroupProgress"]

_COMMIT_MS = 2_000
_SETTLE_S = 5.0
_POLL_MS = 100


class GroupProgress:
    """Records that were done with, until the group knows.

    While the group shares its partitions out anew nothing can be committed: what is done waits for the next try. What
    went to another reader meanwhile is that reader's to repeat.
    """

    def __init__(self, consumer: KafkaConsumer) -> None:
        self._consumer = consumer
        self._next: dict[TopicPartition, int] = {}

    def done(self, where: TopicPartition, offset: int) -> None:
        """The record at ``offset`` and all before it in its partition are done with."""
        self._next[where] = offset + 1

    def commit(self) -> bool:
        """Tell the group; False when it should be tried again after the next poll."""
        from kafka.errors import KafkaError, KafkaTimeoutError, RebalanceInProgressError
        from kafka.structs import OffsetAndMetadata

        owned = self._consumer.assignment()
        if not owned:  # in the middle of sharing out anew, everything is taken away first
            return not self._next
        positions = {each: OffsetAndMetadata(at, "", -1) for each, at in self._next.items() if each in owned}
        try:
            if positions:
                self._consumer.commit(positions, timeout_ms=_COMMIT_MS)
        except RebalanceInProgressError:
            # kafka-python 3.0 may miss the end of it, when a poll ran out of time meanwhile, and then stay so for ever
            self._consumer._coordinator.request_rejoin()
            return False
        except KafkaTimeoutError:
            return False
        except KafkaError:  # thrown out of the group: its others repeat what we did
            pass
        self._next.clear()
        return True

    def settle(self) -> None:
        """Tell the group before leaving it, for at most a few seconds. What polls bring meanwhile is not done with."""
        deadline = time.monotonic() + _SETTLE_S
        while not self.commit() and time.monotonic() < deadline:
            self._consumer.poll(timeout_ms=_POLL_MS)
