"""The private parts of Faust and aiokafka that the hot path leans on are still there, in the versions pinned."""

from __future__ import annotations

import inspect
from importlib.metadata import version
from typing import Any

import aiokafka.codec as codec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.consumer import fetcher
from aiokafka.producer import message_accumulator, transaction_manager
from faust.transport import consumer as faust_consumer
from faust.transport.drivers import aiokafka as driver
from mode import threads


def parameters(function: Any) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]


def test_the_versions_are_the_ones_that_were_read() -> None:
    assert (version("aiokafka"), version("faust-streaming")) == ("0.14.0", "0.15.3"), (
        "read what transport.py and fetching.py name, then pin the new versions here and in pyproject.toml"
    )


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (fetcher.PartitionRecords.__init__, ["tp", "records", "aborted_transactions", "fetch_offset",
                                             "key_deserializer", "value_deserializer", "check_crcs",
                                             "isolation_level"]),
        (fetcher.PartitionRecords._unpack_records, []),
        (fetcher.PartitionRecords._consume_aborted_up_to, ["batch_offset"]),
        (fetcher.Fetcher._proc_fetch_request, ["assignment", "node_id", "request"]),
        (driver.AIOKafkaConsumerThread._create_worker_consumer, ["transport"]),
        (driver.AIOKafkaConsumerThread._fetch_records, ["consumer", "active_partitions", "timeout", "max_records"]),
        (driver.AIOKafkaConsumerThread.on_start, []),
        (driver.AIOKafkaConsumerThread.close, []),
        (driver.AIOKafkaConsumerThread.on_thread_stop, []),
        (faust_consumer.Consumer.getmany, ["timeout"]),
        (faust_consumer.Consumer._wait_next_records, ["timeout"]),
        (faust_consumer.Consumer.on_buffer_drop, ["tp"]),
        (faust_consumer.Consumer._get_active_partitions, []),
        (faust_consumer.Consumer._add_gap, ["tp", "offset_from", "offset_to"]),
        (faust_consumer.Consumer._new_offset, ["tp"]),
    ],
)  # fmt: skip
def test_what_is_overridden_or_called_takes_what_it_took(function: Any, expected: list[str]) -> None:
    assert parameters(function) == expected


def test_a_fetcher_makes_its_requests_where_they_are_held_back_and_hurried() -> None:
    source = inspect.getsource(fetcher.Fetcher._get_actions_per_node)
    assert "self._fetch_max_wait_ms," in source
    assert "if tp in self._records:" in source
    assert ") = self._get_actions_per_node(assignment)" in inspect.getsource(fetcher.Fetcher._fetch_requests_routine)


def test_what_was_fetched_holds_itself_by_the_iterator_that_is_taken_from_it() -> None:
    assert "self._records_iterator = self._unpack_records()" in inspect.getsource(fetcher.PartitionRecords.__init__)


def test_a_fetcher_asks_its_client_and_keeps_results_by_partition() -> None:
    source = inspect.getsource(fetcher.Fetcher._proc_fetch_request)
    assert "await self._client.send(node_id, request)" in source
    assert "self._records[tp] = FetchResult(" in source
    assert "partition_records=partition_records" in source
    assert "MemoryRecords(part_data[-1])" in source
    assert "self._proc_fetch_request(assignment, node_id, request)" in inspect.getsource(
        fetcher.Fetcher._fetch_requests_routine
    )
    assert "self._fetcher = Fetcher(" in inspect.getsource(AIOKafkaConsumer.start)


def test_every_codec_that_producers_may_use_can_be_read() -> None:
    assert codec.has_gzip()
    assert codec.has_snappy()
    assert codec.has_lz4()
    assert codec.has_zstd()


def test_a_producer_lets_its_failed_batches_and_its_transactions_end_be_seen() -> None:
    assert "self._batches = collections.defaultdict(collections.deque)" in inspect.getsource(
        message_accumulator.MessageAccumulator.__init__
    )
    assert "return self._transaction_waiter" in inspect.getsource(
        transaction_manager.TransactionManager.wait_for_transaction_end
    )
    assert "self._txn_manager" in inspect.getsource(AIOKafkaProducer.commit_transaction)


def test_the_consumers_thread_takes_an_event_loop_and_can_be_told_to_close_it() -> None:
    source = inspect.getsource(threads.ServiceThread)
    assert "thread_loop" in parameters(threads.ServiceThread.__init__)
    assert "self._close_thread_loop_on_stop = thread_loop is None" in source
    assert "if self._close_thread_loop_on_stop:" in source
