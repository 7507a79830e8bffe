"""Quix Streams with its fastest kind of state, a dict in memory (no changelog, no RocksDB), at least once."""

from __future__ import annotations

import tempfile
from typing import Any

import orjson
from quixstreams import Application  # type: ignore[import-not-found]  # lives in the benchmark's own environment
from robust_ewma import RobustEwma  # type: ignore[import-not-found]  # run as a script there: its folder is the path
from stopwatch import THRESHOLD, Stopwatch, arguments  # type: ignore[import-not-found]  # likewise


def main() -> None:
    options = arguments(__doc__ or "")
    application = Application(
        broker_address=options.bootstrap,
        consumer_group=f"quix-{options.topic}",
        auto_offset_reset="earliest",
        auto_create_topics=False,
        use_changelog_topics=False,
        state_dir=tempfile.mkdtemp(prefix="quix-bench-"),
        loglevel="WARNING",
    )
    source = application.topic(options.topic, value_deserializer="bytes")
    sink = application.topic(options.anomalies, value_serializer="bytes")
    state: dict[str, RobustEwma] = {}
    watch = Stopwatch(options.count)

    def detect(value: bytes) -> bytes | None:
        document: dict[str, Any] = orjson.loads(value)
        series = document["series"]
        detector = state.get(series)
        if detector is None:
            detector = state[series] = RobustEwma()
        score, p_value = detector.step(document["value"])
        watch.tick()
        if p_value <= THRESHOLD:
            return orjson.dumps({"series": series, "score": score, "p_value": p_value})
        return None

    frame = application.dataframe(source)
    frame = frame.apply(detect)
    frame = frame.filter(lambda found: found is not None)
    frame.to_topic(sink)
    application.run()


if __name__ == "__main__":
    main()
