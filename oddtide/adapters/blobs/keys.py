"""The key that blobs are signed with."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

from oddtide.adapters.blobs.folder import faults, write_new
from oddtide.domain.errors import ConfigurationError

__all__ = ["KEY_FILE", "load_or_create_key"]

KEY_FILE = "artifacts.key"
_KEY_BYTES = 32


def load_or_create_key(folder: Path) -> bytes:
    """The signing key of a data folder; made at the first call, readable by its owner only.

    Raises ``ConfigurationError`` for a key file that others may read or write or that holds no key, and
    ``StorageUnavailableError`` where it cannot be read or made. Several processes may call it at once.
    """
    path = folder / KEY_FILE
    with faults(path):
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
    write_new(draft, [secrets.token_hex(_KEY_BYTES).encode() + b"\n"])
    try:
        os.link(draft, path)  # fails where another process was quicker: its key is the one
    except FileExistsError:
        pass
    finally:
        draft.unlink()
