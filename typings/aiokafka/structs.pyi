from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka import TopicPartition as TopicPartition

@dataclass(frozen=True)
class ConsumerRecord:
    topic: str
    partition: int
    offset: int
    timestamp: int
    timestamp_type: int
    key: Any  # what the deserializer makes of it; bytes or None without one
    value: Any  # likewise
    checksum: int | None
    serialized_key_size: int
    serialized_value_size: int
    headers: Sequence[tuple[str, bytes]]
