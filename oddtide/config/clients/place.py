"""Which cluster a client means, and what its topics are called there."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from oddtide.adapters.kafka.connection import KafkaConnection
from oddtide.domain.errors import UsageError
from oddtide.streams import topics

__all__ = ["Place", "find_place"]


class Place(NamedTuple):
    """A cluster, and the topics of one installation on it."""

    connection: KafkaConnection
    topics: topics.TopicCatalogue


def find_place(bootstrap: str | KafkaConnection | None, config: str | Path | None) -> Place:
    """Where the cluster is, and what its topics are called: by address, else by the settings."""
    if isinstance(bootstrap, KafkaConnection) or (bootstrap is not None and config is None):
        connection = bootstrap if isinstance(bootstrap, KafkaConnection) else KafkaConnection(bootstrap)
        return Place(connection, topics.TopicCatalogue((("readings", "oddtide.readings", 1),)))
    if bootstrap is not None:
        raise UsageError("Both bootstrap and config are given.", remedy="The settings file says where Kafka is.")
    from oddtide.config.composition import Composition
    from oddtide.config.settings import load

    composition = Composition(load(None if config is None else Path(config)).settings)
    return Place(composition.connection(), composition.catalogue())
