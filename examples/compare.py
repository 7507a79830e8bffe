"""Which detector suits this data? Nine sensors of a space shuttle, labelled (river's Shuttle data set)."""

from __future__ import annotations

from itertools import islice

import numpy as np
from river import datasets

import oddtide


def main() -> None:
    rows = list(islice(datasets.Shuttle(), 5_000))
    block = np.array([list(reading.values()) for reading, _ in rows], dtype=float)
    labels = np.array([label for _, label in rows])
    result = oddtide.compare_algorithms(
        block,
        labels,
        ["ewma", "half_space_trees", "pyod:HBOS"],
        features=[f"f{i}" for i in range(1, 10)],
        p_value=0.05,
    )
    print(result)
    print("best:", result.best.detector)


if __name__ == "__main__":
    main()
