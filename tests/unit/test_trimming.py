"""Free memory goes back to the machine where the C library can do that."""

from __future__ import annotations

import platform
from types import SimpleNamespace

import psutil
import pytest

from oddtide.streams import trimming
from oddtide.streams.trimming import give_back

_MIB = 1 << 20


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc_trim is glibc's")
def test_what_lies_free_between_what_is_used_is_given_back() -> None:
    process = psutil.Process()
    blocks = [bytes([1]) * 50_000 for _ in range(2_000)]  # too small for pages of their own
    last = bytes([2]) * 50_000  # above them: else freeing would give them back by itself
    full = process.memory_info().rss
    del blocks
    assert give_back()
    assert full - process.memory_info().rss > 50 * _MIB
    assert len(last) == 50_000


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda _: SimpleNamespace())
    trimming._malloc_trim.cache_clear()
    try:
        assert not give_back()
    finally:
        trimming._malloc_trim.cache_clear()
