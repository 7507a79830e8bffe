"""Blocking clients of a Kafka cluster, on kafka-python: for commands, programs and tests.

The agents do not use them: they speak to Kafka through Faust. Every client here is a context manager, raises the
errors of :mod:`oddtide.domain.errors` only, and gives up on a cluster that does not answer after about five seconds.
kafka-python logs what it retries; while a program has not set a level for its logger ``kafka``, using a client here
keeps it to what is critical, since what matters is raised.
"""

from __future__ import annotations

from oddtide.adapters.kafka.admin import GroupMember, KafkaAdmin, TopicDescription, TopicMismatch
from oddtide.adapters.kafka.connection import KafkaConnection
from oddtide.adapters.kafka.reader import KafkaReader, KafkaRecord
from oddtide.adapters.kafka.writer import KafkaWriter, Sent

__all__ = [
    "GroupMember",
    "KafkaAdmin",
    "KafkaConnection",
    "KafkaReader",
    "KafkaRecord",
    "KafkaWriter",
    "Sent",
    "TopicDescription",
    "TopicMismatch",
]
