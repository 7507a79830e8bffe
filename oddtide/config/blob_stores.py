"""The stores of signed blobs: trained models, snapshots of state. Both are signed with the same key."""

from __future__ import annotations

from pathlib import Path

from oddtide.adapters.blobs.folder import Folder
from oddtide.adapters.blobs.keys import load_or_create_key
from oddtide.adapters.blobs.signed import SignedBlobs
from oddtide.config.settings import Settings

__all__ = ["artifact_store", "snapshot_store"]


def artifact_store(settings: Settings, folder: Path) -> SignedBlobs:
    """Where trained models lie. ``folder`` is the data folder, which holds the key where none is configured."""
    return SignedBlobs(Folder(settings.artifact_folder), _key(settings, folder))


def snapshot_store(settings: Settings, folder: Path) -> SignedBlobs:
    """Where snapshots of state lie: in the data folder, or in the store that the settings name."""
    if not settings.snapshots.url:
        return SignedBlobs(Folder(folder / "snapshots"), _key(settings, folder))
    from oddtide.adapters.blobs.remote import Remote

    remote = Remote(settings.snapshots.url, settings.snapshots.storage_options())
    return SignedBlobs(remote, _key(settings, folder))


def _key(settings: Settings, folder: Path) -> bytes:
    return settings.artifacts.key.get_secret_value().encode() or load_or_create_key(folder)
