"""The labelled data, one case a file: what a detector is given, and what only the measures see."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from oddtide.domain.readings import FloatArray

__all__ = ["BATCH", "DATA_SETS", "Case", "Spans", "data_folder", "load_cases"]

#: First and last row, both in.
Spans: TypeAlias = tuple[tuple[int, int], ...]

#: The data set whose tables are trained on and scored whole, by detectors in batch alone.
BATCH = "adbench_batch"
_SHUFFLES = (0, 1, 2)
_SKAB_TRAINING = 400
_REMEDY = "Put the labelled data there (its README names the sources) or name its folder with --data."


@dataclass(frozen=True)
class Case:
    """One file. ``values`` (n, d) and ``times`` (None: numbered) are folded from the first row on; ``truth`` (n,) marks
    the anomalies and ``spans`` the stretches they form; rows before ``scored_from`` are learnt but not measured."""

    name: str
    features: tuple[str, ...]
    values: FloatArray
    truth: NDArray[np.bool_]
    spans: Spans
    scored_from: int = 0
    times: NDArray[np.datetime64] | None = None

    def __len__(self) -> int:
        return len(self.values)

    def head(self, rows: int) -> Case:
        """The first rows, to be folded only."""
        times = None if self.times is None else self.times[:rows]
        return replace(self, values=self.values[:rows], truth=self.truth[:rows], times=times)


def data_folder(folder: Path) -> Path:
    """``folder``, if the data lies there. Raises ``SystemExit`` otherwise, with the remedy."""
    missing = [name for name in DATA_SETS if name != BATCH and not (folder / name).is_dir()]
    if missing:
        raise SystemExit(f"There is no labelled data in {folder} ({', '.join(missing)} missing). {_REMEDY}")
    return folder


def load_cases(data_set: str, folder: Path, limit: int = 0) -> Iterator[Case]:
    """The cases of a data set, in the order of their names; at most ``limit`` files, spread over all (0: all)."""
    return DATA_SETS[data_set](folder / data_set, limit)


def _spread(names: Sequence[Any], limit: int) -> list[Any]:
    if not limit or limit >= len(names):
        return list(names)
    return [names[i * len(names) // limit] for i in range(limit)]


def _nab(folder: Path, limit: int) -> Iterator[Case]:
    windows = json.loads((folder / "windows.json").read_text())
    for name in _spread(sorted(windows), limit):
        times, columns = _csv(folder / "data" / f"{name}.gz", ("value",))
        spans = tuple((_row(times, first), _row(times, last)) for first, last in windows[name])
        yield Case(name, ("value",), columns, _marked(len(times), spans), spans, times=times)


def _row(times: NDArray[np.datetime64], moment: str) -> int:
    return int(np.flatnonzero(times == np.datetime64(moment, "ns"))[0])


def _marked(rows: int, spans: Spans) -> NDArray[np.bool_]:
    truth = np.zeros(rows, dtype=np.bool_)
    for first, last in spans:
        truth[first : last + 1] = True
    return truth


def _ucr(folder: Path, limit: int) -> Iterator[Case]:
    index = json.loads((folder / "index.json").read_text())
    for name in _spread(sorted(index), limit):
        values = np.load(folder / f"{name}.npz")["value"].astype(np.float64).reshape(-1, 1)
        first, last = index[name]["anomaly"]
        spans = ((int(first), int(last)),)
        yield Case(name, ("value",), values, _marked(len(values), spans), spans, int(index[name]["train_end"]))


def _skab(folder: Path, limit: int) -> Iterator[Case]:
    files = sorted(path for path in folder.glob("*/*.csv.gz"))
    for path in _spread(files, limit):
        header = _header(path)
        features = tuple(name for name in header if name not in {"timestamp", "label", "changepoint"})
        times, columns = _csv(path, (*features, "label"))
        truth = columns[:, -1] > 0
        name = f"{path.parent.name}/{path.name.partition('.')[0]}"
        yield Case(name, features, columns[:, :-1], truth, (), _SKAB_TRAINING, times)


def _smap_msl(folder: Path, limit: int) -> Iterator[Case]:
    for path in _spread(sorted(folder.glob("*.npz")), limit):
        parts = np.load(path)
        train, test = parts["train"].astype(np.float64), parts["test"].astype(np.float64)
        truth = np.concatenate([np.zeros(len(train)), parts["label"]]) > 0
        yield Case(path.stem, _numbered(test), np.concatenate([train, test]), truth, (), len(train))


def _adbench(folder: Path, limit: int) -> Iterator[Case]:
    """Tables have no order in time: the pass is over fixed shuffles, which numpy's generator draws from the seeds."""
    for path in _spread(sorted(folder.glob("*.npz")), limit):
        table = np.load(path)
        values, truth = table["X"].astype(np.float64), table["y"] > 0
        for seed in _SHUFFLES:
            order = np.random.default_rng(seed).permutation(len(values))
            yield Case(f"{path.stem} shuffle {seed}", _numbered(values), values[order], truth[order], ())


def _adbench_batch(folder: Path, limit: int) -> Iterator[Case]:
    """The tables once each, shuffled likewise: a detector in batch knows no order, but some tables are sorted by it."""
    for case in _adbench(folder.with_name("adbench"), limit):
        if case.name.endswith(" shuffle 0"):
            yield case


def _numbered(values: FloatArray) -> tuple[str, ...]:
    return tuple(f"f{i}" for i in range(1, values.shape[1] + 1)) if values.shape[1] > 1 else ("value",)


def _header(path: Path) -> list[str]:
    with gzip.open(path, "rt", newline="") as lines:
        return next(csv.reader(lines))


def _csv(path: Path, names: Sequence[str]) -> tuple[NDArray[np.datetime64], FloatArray]:
    """Times and the named columns; an empty cell is NaN."""
    with gzip.open(path, "rt", newline="") as lines:
        header, *rows = csv.reader(lines)
    places = [header.index(name) for name in names]
    moment = header.index("timestamp")
    times = np.array([row[moment] for row in rows], dtype="datetime64[ns]")
    return times, np.array([[float(row[place] or "nan") for place in places] for row in rows])


#: The cases of each data set, by the name of its folder.
DATA_SETS: dict[str, Callable[[Path, int], Iterator[Case]]] = {
    "nab": _nab, "ucr": _ucr, "skab": _skab, "smap_msl": _smap_msl, "adbench": _adbench,
    BATCH: _adbench_batch,
}  # fmt: skip
