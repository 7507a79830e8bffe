"""The package rrcf over rows in an .npy file, as its own streaming example does: put in, score, let the oldest go."""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
import rrcf  # type: ignore[import-not-found]  # lives in the benchmark's own environment


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows")
    for name in ("--trees", "--samples", "--seed"):
        parser.add_argument(name, type=int)
    options = parser.parse_args()
    values = np.load(options.rows)
    np.random.seed(options.seed)  # all its randomness
    forest = [rrcf.RCTree() for _ in range(options.trees)]
    scores = np.zeros(len(values))
    start = time.process_time()
    for i, row in enumerate(values):
        for tree in forest:
            if len(tree.leaves) >= options.samples:
                tree.forget_point(i - options.samples)
            tree.insert_point(row, index=i)
            scores[i] += tree.codisp(i) / options.trees
    print(json.dumps({"seconds": time.process_time() - start, "scores": scores.tolist()}))


if __name__ == "__main__":
    main()
