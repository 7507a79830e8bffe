"""Fenced for good: when taking a partition back again and again leads nowhere."""

from __future__ import annotations

from faust.types import TP

from oddtide.domain.errors import FencedError

__all__ = ["Fences"]

#: Fenced this often in a row without getting anywhere, a worker gives up.
MOST = 5


class Fences:
    """Counts, per partition, how often its owner was fenced without having committed anything in between."""

    def __init__(self) -> None:
        self._counts: dict[TP, tuple[int, int]] = {}

    def fenced(self, tp: TP, committed: int) -> FencedError | None:
        """The owner of ``tp`` was fenced when it had committed so far. An error where that is for good: somebody keeps
        fencing us although the group says that the partition is ours."""
        before, times = self._counts.get(tp, (-1, 0))
        times = times + 1 if committed == before else 1
        self._counts[tp] = (committed, times)
        if times < MOST:
            return None
        return FencedError(
            f"{tp.topic}/{tp.partition} was fenced {times} times in a row while the group says that it is ours.",
            remedy="Another program uses the same application name on this Kafka: give each installation its own.",
        )
