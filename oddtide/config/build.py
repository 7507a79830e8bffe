"""The name of what computes verdicts here: the build that the ledger writes beside every hash.

Two workers of equal names must give equal bits. The name holds the version, a digest of the code that decides verdicts,
the processor that numba compiles for and the versions of the libraries that compute. On another build a rebuilt state
that differs is called "not verifiable", never "different".
"""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path

import oddtide

__all__ = ["build_name"]

_DECIDES = ("domain", "streams/codecs", "streams/pipeline", "adapters/river", "adapters/pyod")
_COMPUTES = ("numpy", "numba", "river", "pyod")


@cache
def build_name() -> str:
    """``0.1.0+1a2b3c4d/x86_64/znver4/numpy-2.4.6/…``."""
    libraries = [f"{name}-{version(name)}" for name in _COMPUTES]
    return "/".join([f"{oddtide.__version__}+{code_digest()}", platform.machine(), _processor(), *libraries])


def code_digest(root: Path | None = None) -> str:
    """8 hex digits over the sources that decide verdicts."""
    package = root or Path(oddtide.__file__).parent
    digest = hashlib.blake2b(digest_size=4)
    for folder in _DECIDES:
        for file in sorted((package / folder).rglob("*.py")):
            digest.update(file.relative_to(package).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def _processor() -> str:
    from llvmlite import binding  # numba's own; slow to import

    return str(binding.get_host_cpu_name())
