"""Static members of a consumer group: leaving it when they end, and noticing that another took their place.

A worker with an instance id keeps its partitions over a quick restart. aiokafka leaves two things open there:

- a static member that ends in order does not leave the group, so its partitions would lie idle until the session
  timeout: :func:`leave_at_end`;
- where a second process joins under the same instance id, Kafka gives it the first one's place. aiokafka only learns
  that it is not a member, joins again and takes the place back, and so on without end. So before it joins again,
  Kafka is asked about the former membership with a SyncGroup request: it answers *fenced* where another has the place,
  *unknown* where it was given up (the session timed out): :func:`watch`.

This leans on private parts of aiokafka 0.14, pinned in ``pyproject.toml``: ``AIOKafkaConsumer._coordinator``, its
``_group_instance_id``, ``reset_generation``, ``_do_rejoin_group`` and ``_send_req``.
``tests/integration/test_membership.py`` holds it to them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import aiokafka.errors as errors
from aiokafka.protocol.group import SyncGroupRequest

from oddtide.domain.errors import FencedError

__all__ = ["FENCED_INSTANCE", "leave_at_end", "watch"]

#: Kafka's error code FENCED_INSTANCE_ID, which aiokafka does not know.
FENCED_INSTANCE = 82

_FIRST_GENERATION = 0


def leave_at_end(consumer: Any) -> None:
    """Let ``consumer`` leave its group when it stops, also as a static member. Call it right before."""
    coordinator = getattr(consumer, "_coordinator", None)
    if coordinator is not None:
        coordinator._group_instance_id = None


def watch(consumer: Any, out: Callable[[], None], fenced: Callable[[FencedError], None]) -> None:
    """Call ``out`` whenever ``consumer`` finds that its group has thrown it out, ``fenced`` once when another process
    took its place there; it does not join again then. Both are called on the consumer's event loop. Call this after
    the consumer was started; a dynamic member is never fenced."""
    coordinator = consumer._coordinator
    if coordinator is not None and hasattr(coordinator, "_do_rejoin_group"):
        _Watch(coordinator, out, fenced)


class _Watch:
    def __init__(self, coordinator: Any, out: Callable[[], None], fenced: Callable[[FencedError], None]) -> None:
        self._coordinator = coordinator
        self._out = out
        self._fenced = fenced
        self._instance = coordinator._group_instance_id
        self._former: tuple[int, str] | None = None
        self._over = False
        self._reset, self._rejoin = coordinator.reset_generation, coordinator._do_rejoin_group
        coordinator.reset_generation, coordinator._do_rejoin_group = self.reset_generation, self.rejoin

    def reset_generation(self) -> None:
        """The membership is over, for whatever reason; keep it in mind."""
        coordinator = self._coordinator
        if coordinator.member_id and coordinator.generation > _FIRST_GENERATION:
            self._former = (coordinator.generation, coordinator.member_id)
            self._out()
        self._reset()

    async def rejoin(self, subscription: Any) -> bool:
        """Join again, unless the place is another's."""
        former, self._former = self._former, None
        if not self._over and former is not None and await self._replaced(*former):
            self._over = True
            self._fenced(_taken(self._coordinator.group_id, self._instance))
        if self._over:
            await self._coordinator._closing
        if self._coordinator._closing.done():
            return False  # who is about to leave need not join again, and wait for all others
        return bool(await self._rejoin(subscription))

    async def _replaced(self, generation: int, member: str) -> bool:
        if self._instance is None:
            return False
        coordinator = self._coordinator
        request = SyncGroupRequest(coordinator.group_id, generation, member, self._instance, [])
        try:
            answer = await coordinator._send_req(request)
        except errors.KafkaError:  # ask again when it is lost again: joining answers the rest
            return False
        return bool(answer.error_code == FENCED_INSTANCE)


def _taken(group: str, instance: str) -> FencedError:
    return FencedError(
        f"Another process joined the group {group} as {instance!r}, so this one is out.",
        remedy="Give each worker a worker.instance_id of its own, or leave it unset.",
    )
