"""Sharing out partitions among the members of a group: evenly, and moving as few as that takes.

What a partition costs when it moves is its state: the new owner has to restore it. So a member keeps what it holds as
far as even shares allow. Pure functions: the same members, claims and topics give the same shares on any member.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from math import ceil
from typing import NamedTuple, TypeAlias

__all__ = ["Place", "Shares", "share_out"]


class Place(NamedTuple):
    """One partition of a topic."""

    topic: str
    partition: int


Shares: TypeAlias = dict[str, set[Place]]


def share_out(
    topics: Mapping[str, int], members: Mapping[str, Set[str]], held: Mapping[str, Iterable[Place]]
) -> Shares:
    """Who gets what.

    ``topics`` gives the number of partitions, ``members`` what each subscribed to, ``held`` what each says that it
    has. Every partition of a topic that anybody subscribed to is given to exactly one of those. Of each topic, members
    get equally many or one more; where all subscribe to the same, also over all topics. A topic is not balanced at the
    cost of more moves than that takes; claims to the same partition go to the first by name.
    """
    shares = _Sharing(topics, members)
    shares.keep(held)
    shares.fill()
    for topic in sorted(topics):
        shares.balance(topic)
    shares.even_out()
    return shares.of


class _Sharing:
    def __init__(self, topics: Mapping[str, int], members: Mapping[str, Set[str]]) -> None:
        self._topics = topics
        self._readers = {topic: sorted(name for name in members if topic in members[name]) for topic in topics}
        self.of: Shares = {name: set() for name in sorted(members)}
        self._count = {(name, topic): 0 for name in members for topic in topics}

    def keep(self, held: Mapping[str, Iterable[Place]]) -> None:
        """Members keep what they hold, each up to a full share of a topic."""
        taken: set[Place] = set()
        for name in sorted(held):
            for place in sorted(set(map(Place._make, held[name])) - taken):
                if self._may_keep(name, place):
                    taken.add(place)
                    self._give(name, place)

    def _may_keep(self, name: str, place: Place) -> bool:
        readers = self._readers.get(place.topic, [])
        return (
            name in readers
            and place.partition < self._topics[place.topic]
            and self._count[name, place.topic] < ceil(self._topics[place.topic] / len(readers))
        )

    def fill(self) -> None:
        """What nobody holds goes to who has least of the topic, and least at all."""
        given = set().union(*self.of.values())
        for topic, number in sorted(self._topics.items()):
            for place in (Place(topic, partition) for partition in range(number)):
                if place not in given and self._readers[topic]:
                    self._give(
                        min(self._readers[topic], key=lambda name: (*self._load(name, place.topic), name)), place
                    )

    def balance(self, topic: str) -> None:
        """Move partitions of a topic until no member has two more than another."""
        readers = self._readers[topic]
        while readers:
            least = min(readers, key=lambda name: (*self._load(name, topic), name))
            most = max(readers, key=lambda name: (*self._load(name, topic), name))
            if self._count[most, topic] - self._count[least, topic] < 2:
                return
            self._move(most, least, topic)

    def even_out(self) -> None:
        """Move partitions until no member has two more than another over all topics, keeping each topic balanced."""
        while self.of:
            least = min(self.of, key=lambda name: (len(self.of[name]), name))
            most = max(self.of, key=lambda name: (len(self.of[name]), name))
            topic = self._movable(most, least)
            if topic is None or len(self.of[most]) - len(self.of[least]) < 2:
                return
            self._move(most, least, topic)

    def _movable(self, most: str, least: str) -> str | None:
        """A topic of which one has more than the other, who may have it: they swap counts, and it stays balanced."""
        return next(
            (
                topic
                for topic in sorted(self._topics)
                if least in self._readers[topic] and self._count[most, topic] > self._count[least, topic]
            ),
            None,
        )

    def _load(self, name: str, topic: str) -> tuple[int, int]:
        return self._count[name, topic], len(self.of[name])

    def _give(self, name: str, place: Place) -> None:
        self.of[name].add(place)
        self._count[name, place.topic] += 1

    def _move(self, source: str, target: str, topic: str) -> None:
        place = max(each for each in self.of[source] if each.topic == topic)
        self.of[source].remove(place)
        self._count[source, topic] -= 1
        self._give(target, place)
