"""Anomalies in an array and in a CSV. Run: python examples/detect.py [FILE.csv]"""

from __future__ import annotations

import sys

import numpy as np

import oddtide


def main() -> None:
    values = np.random.default_rng(1).normal(20.0, 0.5, 2_000)
    values[1_500] = 31.0  # a spike
    found = oddtide.detect_anomalies(values, name="boiler")
    print(found)  # the counts, then a line an anomaly
    for verdict in found:
        print(verdict.value, verdict.expected, verdict.p_value, verdict.reason)

    for path in sys.argv[1:]:
        print(oddtide.detect_anomalies(path, p_value=1e-4))


if __name__ == "__main__":
    main()
