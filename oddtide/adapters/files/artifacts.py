"""Trained models as files: content-addressed, signed, written whole or not at all.

Loading a model runs code that lies in it, so what is read back must be what was written here. Each artifact has an
HMAC-SHA256 beside it under a key that lies outside the artifacts' folder; without a valid one it is refused.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from oddtide.domain.errors import (
    ConfigurationError,
    NotFoundError,
    StorageUnavailableError,
    UntrustedArtifactError,
)

__all__ = ["FileArtifacts", "load_or_create_key"]

_KEY_FILE = "artifacts.key"
_KEY_BYTES = 32
_PURPOSE = b"oddtide-artifact-1"
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_REFERENCE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}/[0-9a-f]{64}")
_LONGEST_NAME = 100


def load_or_create_key(folder: Path) -> bytes:
    """The signing key of a data folder; made at the first call, readable by its owner only.

    Raises ``ConfigurationError`` for a key file that others may read or write or that holds no key, and
    ``StorageUnavailableError`` where it cannot be read or made. Several processes may call it at once.
    """
    path = folder / _KEY_FILE
    with _faults(path):
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _create_key(path)
        if path.stat().st_mode & 0o077:
            raise ConfigurationError(f"The key {path} is open to others.", remedy=f"Run: chmod 600 {path}")
        text = path.read_bytes().strip()
    if not re.fullmatch(rb"[0-9a-f]{64}", text):
        raise ConfigurationError(
            f"{path} does not hold a key of {2 * _KEY_BYTES} hex digits.",
            remedy="Put the key back; without it, move the file away and train the models again.",
        )
    return bytes.fromhex(text.decode())


def _create_key(path: Path) -> None:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    _write(draft, secrets.token_hex(_KEY_BYTES).encode() + b"\n")
    try:
        os.link(draft, path)  # fails where another process was quicker: its key is the one
    except FileExistsError:
        pass
    finally:
        draft.unlink()


class FileArtifacts:
    """Artifacts under ``folder``, signed with ``key``; fits ``Artifacts`` of the agents.

    Guaranteed: what :meth:`get` returns was given to :meth:`put` by a holder of the key, under that reference and
    digest; a crash leaves no half artifact. Not guaranteed: secrecy, or that old ones are cleared away.
    """

    def __init__(self, folder: Path, key: bytes) -> None:
        self._folder = folder
        self._key = key

    def put(self, name: str, content: bytes) -> tuple[str, str]:
        """Store; returns (reference, digest). The same content under the same name is stored once."""
        digest = _digest(content)
        reference = f"{_safe(name)}/{digest}"
        path = self._folder / reference
        signature = self._sign(reference, content)
        with _faults(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            # The signature first: where the content is, its signature is.
            _replace(_signature_of(path), signature.encode())
            if not path.exists() or path.read_bytes() != content:
                _replace(path, content)
        return reference, digest

    def get(self, reference: str, digest: str) -> bytes:
        """Read back. Raises ``NotFoundError``, or ``UntrustedArtifactError`` when signature or digest is wrong."""
        if not _REFERENCE.fullmatch(reference):
            raise UntrustedArtifactError(f"{reference!r} is no reference to an artifact.", remedy=_TRAIN_AGAIN)
        path = self._folder / reference
        with _faults(path):
            if not path.is_file():
                raise NotFoundError(
                    f"There is no artifact {reference} under {self._folder}.",
                    remedy="Let all workers share one artifacts folder, or train the model again.",
                )
            content = path.read_bytes()
            beside = _signature_of(path)
            signature = beside.read_bytes().decode("ascii", "replace") if beside.is_file() else ""
        if _digest(content) != digest:
            raise UntrustedArtifactError(f"The artifact {reference} has not the digest {digest}.", remedy=_TRAIN_AGAIN)
        if not hmac.compare_digest(self._sign(reference, content).encode(), signature.encode("utf-8", "replace")):
            raise UntrustedArtifactError(
                f"The artifact {reference} has no valid signature.",
                remedy=f"Was it made under another {_KEY_FILE}? Put that key back, or train the model again.",
            )
        return content

    def _sign(self, reference: str, content: bytes) -> str:
        message = b"\0".join((_PURPOSE, reference.encode(), content))
        return hmac.new(self._key, message, hashlib.sha256).hexdigest()


_TRAIN_AGAIN = "Train the model again."


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=32).hexdigest()


def _safe(name: str) -> str:
    """A name for a folder: itself where it is plain, told apart by a digest where not."""
    plain = _UNSAFE.sub("-", name).lstrip(".")[:_LONGEST_NAME]
    if plain == name and plain:
        return plain
    return f"{plain or 'model'}-{hashlib.blake2b(name.encode('utf-8', 'surrogatepass'), digest_size=6).hexdigest()}"


def _signature_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.hmac")


def _replace(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        _write(draft, content)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _write(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    # A rename is on the disk only once its folder is.
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _faults(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageUnavailableError(
            f"{path} cannot be read or written: {error.strerror or error}.",
            remedy="Free space on its disk, or make its folder writable by this user.",
        ) from error
