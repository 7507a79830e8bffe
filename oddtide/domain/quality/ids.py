"""Ids of what quality says: functions of what was broken where, so that the same breach is the same fact."""

from __future__ import annotations

import hashlib

__all__ = ["violation_id"]


def violation_id(stream: str, topic: str, partition: int, offset: int, row: int, rule: str, feature: str) -> str:
    """32 hex digits of BLAKE2b; the same parts give the same id, in every process."""
    parts = (stream, topic, partition, offset, row, rule, feature)
    text = "\x1f".join(str(part).replace("\x1f", "\x1f\x1f") for part in parts)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
