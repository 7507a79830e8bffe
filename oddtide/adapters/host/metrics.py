"""This machine's own metrics as readings: processor, memory, disk, network and load."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import psutil

__all__ = ["HostMetrics"]

_MIB = 1 << 20
_Counters = Mapping[str, float]


class HostMetrics:
    """Samples the machine. Rates are per second since the sample before, so the first sample has none.

    ``clock`` gives nanoseconds since 1970. What a machine does not report (disk counters in some containers) is left
    out; nothing is made up. Not thread-safe.
    """

    def __init__(self, clock: Callable[[], int], *, disk: str = "/") -> None:
        self._clock = clock
        self._disk = disk
        self._before: tuple[int, _Counters] | None = None
        psutil.cpu_percent(interval=None)

    def sample(self) -> tuple[int, dict[str, float]]:
        """The time in nanoseconds, and a value for each series:

        ``host.cpu``, ``host.memory``, ``host.swap``, ``host.disk`` in percent, ``host.load`` (one-minute average),
        ``host.disk.read``, ``host.disk.write``, ``host.net.received``, ``host.net.sent`` in MiB/s.
        """
        now = self._clock()
        values = {
            "host.cpu": float(psutil.cpu_percent(interval=None)),
            "host.memory": float(psutil.virtual_memory().percent),
            "host.swap": float(psutil.swap_memory().percent),
            "host.disk": float(psutil.disk_usage(self._disk).percent),
            "host.load": float(psutil.getloadavg()[0]),
        }
        counters = _counters()
        values |= _rates(self._before, now, counters)
        self._before = (now, counters)
        return now, values


def _counters() -> _Counters:
    counters: dict[str, float] = {}
    disk = psutil.disk_io_counters()
    if disk is not None:
        counters |= {"host.disk.read": disk.read_bytes, "host.disk.write": disk.write_bytes}
    net = psutil.net_io_counters()
    if net is not None:
        counters |= {"host.net.received": net.bytes_recv, "host.net.sent": net.bytes_sent}
    return counters


def _rates(before: tuple[int, _Counters] | None, now: int, counters: _Counters) -> dict[str, float]:
    if before is None or now <= before[0]:
        return {}
    seconds = (now - before[0]) / 1e9
    return {
        name: max(0.0, count - before[1][name]) / _MIB / seconds
        for name, count in counters.items()
        if name in before[1]
    }
