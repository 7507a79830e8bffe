from collections.abc import Callable
from typing import Any, NamedTuple

from kafka.structs import TopicPartition

class RecordMetadata(NamedTuple):
    topic: str
    partition: int
    topic_partition: TopicPartition
    offset: int
    timestamp: int
    checksum: int | None
    serialized_key_size: int
    serialized_value_size: int
    serialized_header_size: int

class FutureRecordMetadata:
    is_done: bool
    def get(self, timeout: float | None = None) -> RecordMetadata: ...
    def add_callback(self, f: Callable[..., object], *args: Any) -> FutureRecordMetadata: ...
    def add_errback(self, f: Callable[..., object], *args: Any) -> FutureRecordMetadata: ...
