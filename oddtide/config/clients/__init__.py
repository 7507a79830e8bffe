"""Kafka for Python programs: push readings, read results. Blocking, on kafka-python.

::

    with oddtide.Producer("localhost:9092", topic="oddtide.readings") as producer:
        producer.send("pump-1", 1.5)

    with oddtide.Consumer("detections", "localhost:9092", start="end") as consumer:
        for item in consumer:
            print(item.event.series, item.event.reason)
"""

from __future__ import annotations

from oddtide.config.clients.consumer import Consumer, Item
from oddtide.config.clients.producer import Producer

__all__ = ["Consumer", "Item", "Producer"]
