"""Timers over slots, compiled: a heap of deadlines that is brought up to date only at its top.

A series' deadline moves on with each of its readings. To move its entry each time would cost a walk through the heap a
reading; so an entry stays where it is, too early, until it comes to the top. There it goes back to where it belongs, or
the deadline has passed indeed. A series that reports ten times within its deadline costs one such step in ten readings.
Eight children a node: their deadlines are one line of the processor's cache.
"""

from __future__ import annotations

import numpy as np

from oddtide.domain.readings import IntArray
from oddtide.domain.statistics.kernels import bare_kernel, inlined

__all__ = [
    "ANCHOR_ARRIVAL", "ANCHOR_TIME", "DEADLINE", "LONGEST", "NEVER", "NOW", "SEEN", "SINCE", "SIZE", "arm", "expire",
    "is_due", "take_rows",
]  # fmt: skip

#: Columns of a slot: time of its newest reading, the deadline (0: none), the longest silence lately, readings seen.
SINCE, DEADLINE, LONGEST, SEEN = range(4)
#: What a partition has beside its slots: entries in the heap, its time, and the reading that its idle time counts from.
SIZE, NOW, ANCHOR_TIME, ANCHOR_ARRIVAL = range(4)
#: The time of a partition that has seen nothing.
NEVER = np.int64(-(2**63))
#: Readings after which a silence is learnt well enough.
_WARM_UP = 16
#: A longest silence loses this part of itself (a power of two) with each reading.
_FADING = np.int64(8)
#: Times beyond which nothing is armed, and the longest silence: sums stay within 64 bits.
_FAR = np.int64(2**62)
_AHEAD = 128


@inlined
def _sink(keys: IntArray, slots: IntArray, size: int, key: np.int64, slot: np.int64) -> None:
    """Put an entry in the place of the top one, of ``size`` entries, and let it sink to where it belongs."""
    at = 0
    while True:
        first = 8 * at + 1
        if first >= size:
            break
        least = first
        for child in range(first + 1, min(first + 8, size)):
            if keys[child] < keys[least]:
                least = child
        if keys[least] >= key:
            break
        keys[at] = keys[least]
        slots[at] = slots[least]
        at = least
    keys[at] = key
    slots[at] = slot


@inlined
def _push(keys: IntArray, slots: IntArray, size: int, key: np.int64, slot: np.int64) -> None:
    """Add an entry to ``size`` others."""
    at = size
    while at > 0:
        parent = (at - 1) // 8
        if keys[parent] <= key:
            break
        keys[at] = keys[parent]
        slots[at] = slots[parent]
        at = parent
    keys[at] = key
    slots[at] = slot


@inlined
def _drop(keys: IntArray, slots: IntArray, counts: IntArray) -> None:
    """Remove the top entry."""
    last = counts[SIZE] - 1
    counts[SIZE] = last
    if last > 0:
        _sink(keys, slots, last, keys[last], slots[last])


@inlined
def _settled(
    state: IntArray, live: IntArray, keys: IntArray, slots: IntArray, counts: IntArray, time: np.int64
) -> bool:
    """Bring the top up to date; whether its deadline has passed at ``time``."""
    while counts[SIZE] > 0 and keys[0] <= time:
        key, slot = keys[0], slots[0]
        deadline = state[slot, DEADLINE]
        if live[slot] != key:  # of a series that was forgotten
            _drop(keys, slots, counts)
        elif deadline > time:
            live[slot] = deadline
            _sink(keys, slots, counts[SIZE], deadline, slot)
        else:
            return True
    return False


@bare_kernel
def is_due(state: IntArray, live: IntArray, keys: IntArray, slots: IntArray, counts: IntArray, time: np.int64) -> bool:
    """Whether some deadline is at or before ``time``."""
    return _settled(state, live, keys, slots, counts, time)


@bare_kernel
def expire(
    state: IntArray, live: IntArray, keys: IntArray, slots: IntArray, counts: IntArray, time: np.int64, out: IntArray
) -> int:
    """Take those whose deadline is at or before ``time`` off the heap, as many as ``out`` has room for; how many."""
    found = 0
    while found < len(out) and _settled(state, live, keys, slots, counts, time):
        out[found] = slots[0]
        live[slots[0]] = 0
        _drop(keys, slots, counts)
        found += 1
    return found


@bare_kernel
def arm(state: IntArray, live: IntArray, keys: IntArray, slots: IntArray, counts: IntArray, which: IntArray) -> None:
    """Put ``which`` slots, none of which has an entry, on the heap; those without a deadline stay out."""
    for slot in which:
        deadline = state[slot, DEADLINE]
        if deadline > 0 and deadline > counts[NOW]:
            live[slot] = deadline
            _push(keys, slots, counts[SIZE], deadline, slot)
            counts[SIZE] += 1


@inlined
def _touch(state: IntArray, slots: IntArray, first: int, last: int) -> int:
    """Read what the rows ahead will need: those reads do not wait for one another. Gives 0."""
    found = 0
    for row in range(first, last):
        if state[slots[row], SEEN] == NEVER:
            found += 1
    return found


@inlined
def _learn(longest: np.int64, silence: np.int64, seen: np.int64) -> np.int64:
    """The longest silence lately, after one more. One reading at most doubles it: an absence is not the new usual."""
    silence = min(max(silence, np.int64(0)), _FAR)
    if seen <= 1 or longest == 0:
        return silence
    return max(min(silence, 2 * longest), longest - (longest >> _FADING))


@inlined
def _passing(counts: IntArray, time: np.int64, arrival: np.int64) -> np.int64:
    """A reading moves the partition's time on; the time that counts for its series too."""
    if arrival >= 0:
        time = min(time, arrival)
        counts[ANCHOR_ARRIVAL] = max(counts[ANCHOR_ARRIVAL], arrival)
    counts[ANCHOR_TIME] = max(counts[ANCHOR_TIME], time)
    counts[NOW] = max(counts[NOW], time)
    return time


@inlined
def _speak(
    row: IntArray, time: np.int64, now: np.int64, after: np.int64, factor: np.float64, least: np.int64
) -> np.int64:
    """A series has spoken; the deadline that follows, 0 for none."""
    before, seen = row[SINCE], row[SEEN]
    newest = max(time, before) if seen > 0 else time
    row[SINCE] = newest
    if after > 0:
        row[SEEN] = seen + 1
        return newest + after if newest < _FAR else np.int64(0)
    if seen == 0 or time > before:
        row[SEEN] = seen + 1
        if seen > 0:
            row[LONGEST] = _learn(row[LONGEST], now - before, seen)
    if row[SEEN] <= _WARM_UP or newest > _FAR:
        return np.int64(0)
    return newest + max(least, np.int64(min(factor * row[LONGEST], 4e18)))


@bare_kernel
def take_rows(
    state: IntArray,
    live: IntArray,
    keys: IntArray,
    heap: IntArray,
    counts: IntArray,
    slots: IntArray,
    times: IntArray,
    arrivals: IntArray,
    start: int,
    other: np.int64,
    after: np.int64,
    factor: np.float64,
    least: np.int64,
    was: IntArray,
    since: IntArray,
) -> int:
    """Rows from ``start`` on, in order: the partition's time moves on, then the row's own series has spoken.

    Returns the row at which a deadline has passed, or one of others at or after ``other``: its series has not spoken
    yet then; the number of rows where none has. Of a series that was absent until the row ``was`` gets the deadline
    that it had, ``since`` the time of the reading before. ``after`` 0: ``factor`` times the longest silence lately, at
    least ``least``. The heap must have room for as many entries more as there are rows."""
    found = 0
    for row in range(start, len(slots)):
        if (row - start) % _AHEAD == 0:
            found += _touch(state, slots, row, min(row + _AHEAD, len(slots)))
        slot, time = slots[row], _passing(counts, times[row], arrivals[row])
        now = counts[NOW]
        if now >= other or (counts[SIZE] > 0 and keys[0] <= now and _settled(state, live, keys, heap, counts, now)):
            return row
        since[row] = state[slot, SINCE]
        ahead, deadline = _speak(state[slot], time, now, after, factor, least), state[slot, DEADLINE]
        if ahead <= max(now, 0):
            continue
        if deadline == 0 or deadline <= now:
            was[row] = deadline
            live[slot] = ahead
            _push(keys, heap, counts[SIZE], ahead, slot)
            counts[SIZE] += 1
        state[slot, DEADLINE] = max(deadline, ahead)
    return len(slots) + found
