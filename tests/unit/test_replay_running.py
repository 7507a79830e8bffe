"""What Kafka's client raises in a replay, as people read it."""

from __future__ import annotations

import pytest
from aiokafka.errors import KafkaConnectionError, ProducerFenced

from oddtide.domain.errors import BrokerUnreachableError, CommandRefusedError
from oddtide.streams.replay.running import run


async def outcome(error: Exception | None) -> int:
    if error is not None:
        raise error
    return 1


def test_errors_of_the_client_are_explained() -> None:
    assert run(outcome(None)) == 1
    with pytest.raises(CommandRefusedError, match="begun somewhere else"):
        run(outcome(ProducerFenced()))
    with pytest.raises(BrokerUnreachableError, match="KafkaConnectionError: gone"):
        run(outcome(KafkaConnectionError("gone")))
