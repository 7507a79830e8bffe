"""Push readings to Kafka. Run `oddtide up` in another terminal, then: python examples/produce.py [HOST:PORT]"""

from __future__ import annotations

import sys
import time

import numpy as np

import oddtide


def main() -> None:
    bootstrap = sys.argv[1] if len(sys.argv) > 1 else None  # None: as oddtide.toml here says, else the embedded Kafka
    rng = np.random.default_rng()
    with oddtide.Producer(bootstrap) as producer:
        history = time.time_ns() - np.arange(1_000)[::-1] * 1_000_000_000
        producer.send_many(series="pump-1", time=history, value=rng.normal(60, 2, 1_000))
        delivery = producer.send("pump-1", 90.0, labels={"site": "north"}).wait()
    print(f"the last one is {delivery.topic}[{delivery.partition}]@{delivery.offset}")


if __name__ == "__main__":
    main()
