"""Running a replay to its end from a program that knows no event loop, with errors that people can read."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from aiokafka.errors import KafkaError, ProducerFenced

from oddtide.domain.errors import BrokerUnreachableError, CommandRefusedError

__all__ = ["run"]

_Result = TypeVar("_Result")


def run(work: Coroutine[Any, Any, _Result]) -> _Result:
    """The result of ``work``. What Kafka's client raises becomes one of our errors: ``CommandRefusedError`` where
    somebody else has taken over what it writes, else ``BrokerUnreachableError``."""
    try:
        return asyncio.run(work)
    except ProducerFenced as error:
        raise CommandRefusedError(
            "The same was begun somewhere else meanwhile, and goes on there.", remedy="Let that one finish."
        ) from error
    except KafkaError as error:
        raise BrokerUnreachableError(
            f"Kafka: {str(error) or type(error).__name__}.", remedy="Call it again when the cluster is well."
        ) from error
