from collections.abc import Iterator, MutableMapping, Sequence
from typing import Any

from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition

READ_UNCOMMITTED: int
READ_COMMITTED: int

class PartitionRecords:
    _tp: TopicPartition
    _aborted_transactions: list[tuple[int, int]]
    _aborted_producers: set[int]
    _check_crcs: bool
    _isolation_level: int
    next_fetch_offset: int
    def __init__(
        self,
        tp: TopicPartition,
        records: MemoryRecords,
        aborted_transactions: Sequence[tuple[int, int]] | None,
        fetch_offset: int,
        key_deserializer: None,
        value_deserializer: None,
        check_crcs: bool,
        isolation_level: int,
    ) -> None: ...
    def __iter__(self) -> Iterator[Any]: ...
    def __next__(self) -> Any: ...
    def _unpack_records(self) -> Iterator[Any]: ...
    def _consume_aborted_up_to(self, batch_offset: int) -> None: ...

class FetchResult:
    _partition_records: Any

class Fetcher:
    _records: MutableMapping[TopicPartition, Any]
    def _get_actions_per_node(self, assignment: Any) -> tuple[Any, ...]: ...
    async def _fetch_requests_routine(self) -> None: ...
    async def _proc_fetch_request(self, assignment: Any, node_id: Any, request: Any) -> bool: ...
