"""Read detections from Kafka as they come, until Ctrl-C. Run: python examples/consume.py [HOST:PORT]"""

from __future__ import annotations

import sys
from contextlib import suppress

import oddtide


def main() -> None:
    bootstrap = sys.argv[1] if len(sys.argv) > 1 else None
    with oddtide.Consumer("detections", bootstrap, start="beginning") as consumer:
        for item in consumer:
            print(item.event)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
