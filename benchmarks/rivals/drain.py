"""Stock aiokafka: read every record of a topic; with ``DECODE=1`` in the environment, decode its JSON with orjson."""

from __future__ import annotations

import asyncio
import os

import orjson
from aiokafka import AIOKafkaConsumer

from benchmarks.rivals.stopwatch import Stopwatch, arguments


async def main() -> None:
    options = arguments(__doc__ or "")
    decode, watch, loads = os.environ.get("DECODE") == "1", Stopwatch(options.count), orjson.loads
    # without a group, it reads all partitions of the topic
    consumer = AIOKafkaConsumer(
        options.topic,
        bootstrap_servers=options.bootstrap,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_poll_records=10_000,
    )
    await consumer.start()
    while True:
        for records in (await consumer.getmany(timeout_ms=1000)).values():
            if decode:
                for record in records:
                    loads(record.value)
            watch.tick(len(records))


if __name__ == "__main__":
    asyncio.run(main())
