"""Bytewax: Kafka in, one detector per key in ``stateful_map``, anomalies out; one worker, no recovery store."""

from __future__ import annotations

from typing import Any

import bytewax.operators as op  # type: ignore[import-not-found]  # lives in the benchmark's own environment
import orjson
from bytewax.connectors.kafka import (  # type: ignore[import-not-found]  # likewise
    KafkaSink,
    KafkaSinkMessage,
    KafkaSource,
    KafkaSourceMessage,
)
from bytewax.dataflow import Dataflow  # type: ignore[import-not-found]  # likewise
from bytewax.testing import run_main  # type: ignore[import-not-found]  # likewise
from robust_ewma import RobustEwma  # type: ignore[import-not-found]  # run as a script there: its folder is the path
from stopwatch import THRESHOLD, Stopwatch, arguments  # type: ignore[import-not-found]  # likewise


def main() -> None:
    options = arguments(__doc__ or "")
    watch = Stopwatch(options.count)

    def keyed(message: KafkaSourceMessage) -> tuple[str, float]:
        document = orjson.loads(message.value)
        return document["series"], document["value"]

    def step(detector: RobustEwma | None, value: float) -> tuple[RobustEwma, tuple[float, float]]:
        kept = detector or RobustEwma()
        watch.tick()
        return kept, kept.step(value)

    def outgoing(found: tuple[str, tuple[float, float]]) -> KafkaSinkMessage[Any, Any]:
        series, (score, p_value) = found
        return KafkaSinkMessage(None, orjson.dumps({"series": series, "score": score, "p_value": p_value}))

    flow = Dataflow("bench")
    brokers = [options.bootstrap]
    records = op.input("in", flow, KafkaSource(brokers, [options.topic], batch_size=10_000, tail=True))
    readings = op.map("decode", records, keyed)
    scores = op.stateful_map("detect", readings, step)
    anomalies = op.filter("threshold", scores, lambda found: found[1][1] <= THRESHOLD)
    op.output("out", op.map("encode", anomalies, outgoing), KafkaSink(brokers, options.anomalies))
    run_main(flow)


if __name__ == "__main__":
    main()
