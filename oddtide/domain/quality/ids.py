"""Ids of what quality says: functions of what was broken where, so that the same breach is the same fact."""

from __future__ import annotations

import hashlib

import orjson

__all__ = ["violation_id"]


def violation_id(stream: str, topic: str, partition: int, offset: int, row: int, rule: str, feature: str) -> str:
    """32 hex digits of BLAKE2b over the parts as a JSON array: unambiguous, and the same in every process."""
    parts = orjson.dumps(["violation", stream, topic, partition, offset, row, rule, feature])
    return hashlib.blake2b(parts, digest_size=16).hexdigest()
