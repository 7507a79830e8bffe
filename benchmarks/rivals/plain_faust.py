"""Plain Faust, as its documentation has it: an agent that takes one event at a time and sends the anomalies on."""

from __future__ import annotations

import sys
import tempfile

import faust
import orjson

from benchmarks.rivals.robust_ewma import RobustEwma
from benchmarks.rivals.stopwatch import THRESHOLD, Stopwatch, arguments


def main() -> None:
    options = arguments(__doc__ or "")
    watch = Stopwatch(options.count)
    app = faust.App(
        f"faust-{options.topic}",
        broker=f"kafka://{options.bootstrap}",
        consumer_auto_offset_reset="earliest",
        value_serializer="raw",
        key_serializer="raw",
        web_enabled=False,
        topic_disable_leader=True,
        datadir=tempfile.mkdtemp(prefix="faust-bench-"),
    )
    anomalies = app.topic(options.anomalies, value_serializer="raw")
    state: dict[str, RobustEwma] = {}

    @app.agent(app.topic(options.topic, value_serializer="raw"))
    async def detect(stream: faust.StreamT[bytes]) -> None:
        async for value in stream:
            document = orjson.loads(value)
            series = document["series"]
            detector = state.get(series)
            if detector is None:
                detector = state[series] = RobustEwma()
            score, p_value = detector.step(document["value"])
            if p_value <= THRESHOLD:
                await anomalies.send(value=orjson.dumps({"series": series, "score": score, "p_value": p_value}))
            watch.tick()

    sys.argv = ["plain_faust", "worker", "-l", "warn", "--without-web"]
    app.main()


if __name__ == "__main__":
    main()
