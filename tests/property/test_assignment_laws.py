"""Sharing out partitions: everything exactly once, even, and as few moves as that takes."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from oddtide.streams.assignment import Place, Shares, share_out

NAMES = st.sampled_from("abcdefgh")
TOPICS = st.dictionaries(st.sampled_from(["r", "s", "t", "u"]), st.integers(1, 12), min_size=1)


def all_places(topics: dict[str, int]) -> set[Place]:
    return {Place(topic, partition) for topic, number in topics.items() for partition in range(number)}


def moved(before: Shares, after: Shares) -> int:
    """Partitions that a member held and another has now."""
    return sum(len(places - after.get(name, set())) for name, places in before.items() if name in after)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[dict[str, int], dict[str, set[str]], dict[str, set[Place]]]:
    topics = draw(TOPICS)
    places = st.sampled_from(sorted(all_places(topics)))
    members = draw(st.sets(NAMES, min_size=1))
    subscriptions = st.sets(st.sampled_from([*topics, "elsewhere"]))
    held = st.sets(places | st.just(Place("r", 99)) | st.just(Place("gone", 0)))
    return (
        topics,
        {name: draw(subscriptions) for name in sorted(members)},
        {name: draw(held) for name in sorted(members)},
    )


@given(worlds())
def test_each_partition_goes_to_one_of_those_who_read_its_topic(
    world: tuple[dict[str, int], dict[str, set[str]], dict[str, set[Place]]],
) -> None:
    topics, members, held = world
    shares = share_out(topics, members, held)
    assert shares.keys() == members.keys()
    assert all(a.isdisjoint(b) for a, b in combinations(shares.values(), 2))
    read = set().union(*members.values())
    assert set().union(*shares.values()) == {place for place in all_places(topics) if place.topic in read}
    assert all(place.topic in members[name] for name, places in shares.items() for place in places)
    for topic in topics:
        counts = [sum(place.topic == topic for place in shares[name]) for name in members if topic in members[name]]
        assert not counts or max(counts) - min(counts) <= 1
    assert share_out(topics, members, held) == shares


@given(TOPICS, st.sets(NAMES, min_size=1), st.data())
def test_equal_subscriptions_give_even_shares(topics: dict[str, int], names: set[str], data: st.DataObject) -> None:
    places = sorted(all_places(topics))
    held = {name: data.draw(st.sets(st.sampled_from(places))) for name in sorted(names)}
    shares = share_out(topics, {name: set(topics) for name in names}, held)
    sizes = [len(places) for places in shares.values()]
    assert max(sizes) - min(sizes) <= 1


@given(st.integers(1, 60), st.integers(1, 8))
def test_one_who_joins_takes_its_share_and_moves_nothing_else(partitions: int, members: int) -> None:
    topics, names = {"r": partitions}, [f"m{number}" for number in range(members)]
    before = share_out(topics, {name: {"r"} for name in names}, {})
    after = share_out(topics, {name: {"r"} for name in [*names, "new"]}, before)
    assert moved(before, after) == len(after["new"])
    assert len(after["new"]) >= partitions // (members + 1)


@given(TOPICS, st.integers(1, 8), st.integers(0, 7))
def test_what_the_others_hold_stays_when_one_leaves(topics: dict[str, int], members: int, leaver: int) -> None:
    names = [f"m{number}" for number in range(members + 1)]
    before = share_out(topics, {name: set(topics) for name in names}, {})
    left = [name for name in names if name != names[leaver % len(names)]]
    after = share_out(topics, {name: set(topics) for name in left}, before)
    if len(topics) == 1:
        assert moved(before, after) == 0
    assert share_out(topics, {name: set(topics) for name in left}, after) == after, "and then all stay"
