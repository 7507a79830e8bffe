"""Which PyOD detectors there are, what each needs installed, and which may score rows together."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

from oddtide.domain.detection.settings import check_names, nearest
from oddtide.domain.errors import ConfigurationError, MissingExtraError

__all__ = ["ROW_INDEPENDENT", "available", "construct", "missing_package", "quiet"]

_CLASS = re.compile(r"^class (\w+)\(Base\w*Detector\)", re.MULTILINE)
_IMPORT = re.compile(r"^\s*(?:import|from) (\.?\w+)", re.MULTILINE)
#: Not for tables of numbers without labels: graphs, whole time series, texts, sounds, pictures, labelled rows.
_OTHER_INPUT = re.compile(r"^(pyg_|ts_|audio|embedding|anogan|devnet|xgbod|cd$|so_gaal_new)")
#: Need other detectors handed in, which a configuration cannot name.
_OF_OTHERS = frozenset({"LSCP", "SUOD", "BaseDeepLearningDetector"})
#: Score rows by one another, not by what they were trained on: of no use in a stream.
_TRANSDUCTIVE = frozenset({"COF", "LMDD", "LOCI", "RGraph", "ROD", "SOD", "SOS"})
#: The score of a row has the same bits whatever rows are scored beside it (a test says so). All others are scored one
#: row at a time: with some (ECOD, COPOD) the rows beside it alter the result, with some only its last bits.
ROW_INDEPENDENT = frozenset({"HBOS", "IForest", "KNN", "LOF", "auto"})

#: Packages that PyOD can do without.
_OPTIONAL = frozenset({"combo", "pandas", "suod", "torch", "xgboost"})


def _folder() -> Path:
    try:
        import pyod  # imported late: it is slow to import
    except ImportError:
        raise MissingExtraError("PyOD is not installed.", remedy="Install it: pip install pyod.") from None
    return Path(next(iter(pyod.__path__))) / "models"


@cache
def _modules() -> Mapping[str, str]:
    """Class name to module name, read off PyOD's sources: importing them all would need every optional package."""
    found = {}
    for path in sorted(_folder().glob("*.py")):
        if not _OTHER_INPUT.match(path.stem):
            for name in _CLASS.findall(path.read_text(encoding="utf-8")):
                found[name] = path.stem
    left_out = _OF_OTHERS | _TRANSDUCTIVE
    return {name: module for name, module in sorted(found.items()) if name not in left_out}


@cache
def missing_package(name: str) -> str | None:
    """The package that detector ``name`` needs and that is not installed; None where nothing is missing."""
    to_read, read = [_modules()[name]], set[str]()
    while to_read:
        module = to_read.pop()
        path = _folder() / f"{module}.py"
        if module in read or not path.exists():
            continue
        read.add(module)
        for imported in _IMPORT.findall(path.read_text(encoding="utf-8")):
            if imported.startswith("."):
                to_read.append(imported[1:])
            elif imported in _OPTIONAL and importlib.util.find_spec(imported) is None:
                return str(imported)
    return None


def available() -> tuple[str, ...]:
    """The names that ``pyod:<name>`` takes here: detectors for tables of numbers whose packages are installed, and
    ``auto`` (:mod:`~oddtide.adapters.pyod.auto`)."""
    return (*(name for name in _modules() if missing_package(name) is None), "auto")


def construct(kind: str, parameters: Mapping[str, object]) -> Any:
    """A detector that has seen nothing, for ``kind`` ``pyod:<Class>``; ``random_state`` is 1 unless given.

    Raises ``MissingExtraError`` where a package is missing, ``ConfigurationError`` for a name or parameters that PyOD
    does not know.
    """
    name = kind.partition(":")[2]
    maker = _class(name)
    known = [each for each in inspect.signature(maker.__init__).parameters if each not in {"self", "args", "kwargs"}]
    check_names(kind, parameters, known)
    given = dict(parameters)
    if "random_state" in known:
        given.setdefault("random_state", 1)  # otherwise no training could be repeated
    try:
        with quiet():
            return maker(**given)
    except Exception as error:  # whatever PyOD raises: the configuration is at fault
        remedy = f"See pyod's {name} for what its parameters take."
        raise ConfigurationError(f"{kind} refuses {dict(parameters)!r}: {error}.", remedy=remedy) from None


def _class(name: str) -> type[Any]:
    if name == "auto":
        from oddtide.adapters.pyod.auto import Auto

        return Auto
    modules = _modules()
    if name not in modules:
        raise ConfigurationError(_refusal(name), remedy=nearest(name, available()))
    package = missing_package(name)
    if package == "torch":
        raise MissingExtraError(
            f"pyod:{name} is a deep model and needs torch, which is not installed.",
            remedy="Install the extra: pip install 'oddtide[deep]'.",
        )
    if package is not None:
        raise MissingExtraError(f"pyod:{name} needs the package {package}.", remedy=f"pip install {package}.")
    with quiet():
        module = importlib.import_module(f"pyod.models.{modules[name]}")
    found: type[Any] = getattr(module, name)
    return found


def _refusal(name: str) -> str:
    """Why ``name`` cannot be had."""
    if name in _TRANSDUCTIVE:
        return (
            f"PyOD's {name} scores rows by one another, not by what it was trained on: a stream has one row at a time."
        )
    if name in _OF_OTHERS:
        return f"PyOD's {name} is made of other detectors, which a configuration cannot hand in."
    return f"PyOD has no detector {name!r} for tables of numbers without labels."


class _Silence:
    """Python's warnings and standard output are the process's: the first to enter silences, the last to leave ends it.
    Partitions are scored in threads at once; each saving and restoring by itself would leave it silent for good."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._held = ExitStack()

    def enter(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._held.enter_context(warnings.catch_warnings())
                self._held.enter_context(redirect_stdout(StringIO()))
                warnings.simplefilter("ignore")

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._held.close()


_SILENCE = _Silence()


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings and printed lines of PyOD and scikit-learn, which concern those who write them: standard
    output belongs to the command's own results."""
    _SILENCE.enter()
    try:
        yield
    finally:
        _SILENCE.leave()
