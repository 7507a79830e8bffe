"""A cluster that lets us have no transactions: trying again would not help."""

from __future__ import annotations

import aiokafka
import pytest

from oddtide.domain.errors import ConfigurationError
from oddtide.streams.broker import BrokerAccess
from oddtide.streams.transactions import REFUSALS, PartitionWriter


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_the_answer_is_an_error_of_configuration(
    monkeypatch: pytest.MonkeyPatch, refusal: type[Exception]
) -> None:
    async def refuse(producer: object) -> None:
        raise refusal("no")

    monkeypatch.setattr(aiokafka.AIOKafkaProducer, "start", refuse)
    writer = PartitionWriter(BrokerAccess("127.0.0.1:1"), "app-t-0")
    with pytest.raises(ConfigurationError, match=r"127\.0\.0\.1:1 lets us have no transactions as 'app-t-0'.*Allow"):
        await writer.open()
