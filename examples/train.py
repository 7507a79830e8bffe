"""A batch model of PyOD's: train it on history, keep it in a signed file, detect with it."""

from __future__ import annotations

import secrets
import tempfile
from pathlib import Path

import numpy as np

import oddtide


def main() -> None:
    rng = np.random.default_rng(3)
    history = rng.normal(size=(2_000, 2))
    today = rng.normal(size=(200, 2))
    today[150] = (6.0, -6.0)

    model = oddtide.train_model(history, "KNN", n_neighbors=10)
    key = secrets.token_hex(32)  # keep it as you keep passwords; whoever loads the file needs it
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "knn.model"
        model.save(path, key=key)
        model = oddtide.TrainedModel.load(path, key=key)
    print(model.detect(today, p_value=0.001))


if __name__ == "__main__":
    main()
