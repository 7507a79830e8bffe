from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from oddtide.adapters.blobs.folder import Folder
from oddtide.adapters.blobs.keys import load_or_create_key
from oddtide.adapters.blobs.signed import SignedBlobs
from oddtide.domain.errors import (
    ConfigurationError,
    NotFoundError,
    StorageUnavailableError,
    UntrustedArtifactError,
)
from oddtide.streams.ports import Artifacts

_KEY = b"k" * 32


@pytest.fixture
def artifacts(tmp_path: Path) -> SignedBlobs:
    return SignedBlobs(Folder(tmp_path / "models"), _KEY)


def test_what_is_put_comes_back(artifacts: SignedBlobs) -> None:
    port: Artifacts = artifacts
    reference, digest = port.put("readings.pyod-IForest", b"model")
    assert port.get(reference, digest) == b"model"
    assert reference == f"readings.pyod-IForest/{digest}"


def test_the_same_content_is_stored_once(artifacts: SignedBlobs, tmp_path: Path) -> None:
    first = artifacts.put("m", b"model")
    before = (tmp_path / "models" / first[0]).stat().st_ino
    assert artifacts.put("m", b"model") == first
    assert (tmp_path / "models" / first[0]).stat().st_ino == before
    assert len(list((tmp_path / "models" / "m").iterdir())) == 2


@pytest.mark.parametrize("name", ["", ".", "..", "../../etc", "a/b", "pyod:IForest", "ü", "a" * 300, "\ud800"])
def test_any_name_stays_inside_the_folder(artifacts: SignedBlobs, tmp_path: Path, name: str) -> None:
    reference, digest = artifacts.put(name, b"model")
    assert artifacts.get(reference, digest) == b"model"
    assert (tmp_path / "models" / reference).resolve().is_relative_to((tmp_path / "models").resolve())


def test_names_that_look_alike_do_not_meet(artifacts: SignedBlobs) -> None:
    assert len({artifacts.put(name, b"x")[0] for name in ("a:b", "a/b", "a-b", "a b")}) == 4


@pytest.mark.parametrize("reference", ["", "m", "../m/" + "0" * 64, "/etc/passwd", "m/short", "./" + "0" * 64])
def test_a_reference_that_is_none_is_refused(artifacts: SignedBlobs, reference: str) -> None:
    with pytest.raises(UntrustedArtifactError):
        artifacts.get(reference, "0" * 64)


def test_missing_is_not_found(artifacts: SignedBlobs) -> None:
    with pytest.raises(NotFoundError):
        artifacts.get("m/" + "0" * 64, "0" * 64)


def test_changed_content_is_refused(artifacts: SignedBlobs, tmp_path: Path) -> None:
    reference, digest = artifacts.put("m", b"model")
    (tmp_path / "models" / reference).write_bytes(b"other")
    with pytest.raises(UntrustedArtifactError, match="digest"):
        artifacts.get(reference, digest)
    assert artifacts.put("m", b"model") == (reference, digest)
    assert artifacts.get(reference, digest) == b"model"


def test_another_digest_than_asked_for_is_refused(artifacts: SignedBlobs) -> None:
    reference, _ = artifacts.put("m", b"model")
    with pytest.raises(UntrustedArtifactError, match="digest"):
        artifacts.get(reference, "0" * 64)


@pytest.mark.parametrize("signature", [None, b"", b"0" * 64, b"\xff\xfe"])
def test_without_a_valid_signature_it_is_refused(
    artifacts: SignedBlobs, tmp_path: Path, signature: bytes | None
) -> None:
    reference, digest = artifacts.put("m", b"model")
    beside = tmp_path / "models" / f"{reference}.hmac"
    beside.unlink() if signature is None else beside.write_bytes(signature)
    with pytest.raises(UntrustedArtifactError, match="signature"):
        artifacts.get(reference, digest)


def test_a_signature_under_another_key_or_reference_is_none(artifacts: SignedBlobs, tmp_path: Path) -> None:
    reference, digest = artifacts.put("m", b"model")
    with pytest.raises(UntrustedArtifactError):
        SignedBlobs(Folder(tmp_path / "models"), b"x" * 32).get(reference, digest)
    (tmp_path / "models" / "m").rename(tmp_path / "models" / "n")
    with pytest.raises(UntrustedArtifactError):
        artifacts.get(f"n/{digest}", digest)


def test_a_full_disk_is_a_clear_error_and_leaves_nothing(
    artifacts: SignedBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageUnavailableError, match="No space left") as caught:
        artifacts.put("m", b"model")
    assert "Free space" in caught.value.remedy
    assert list((tmp_path / "models" / "m").iterdir()) == []


def test_a_folder_that_is_a_file_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("")
    with pytest.raises(StorageUnavailableError):
        SignedBlobs(Folder(tmp_path / "models"), _KEY).put("m", b"model")


def test_the_key_is_made_once_and_private(tmp_path: Path) -> None:
    key = load_or_create_key(tmp_path / "data")
    assert len(key) == 32
    assert load_or_create_key(tmp_path / "data") == key
    (path,) = (tmp_path / "data").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_of_two_that_make_the_key_at_once_one_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_or_create_key(tmp_path)
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda path: False if path.suffix == ".key" else exists(path))
    assert load_or_create_key(tmp_path) == first
    assert len(list(tmp_path.iterdir())) == 1


def test_a_key_open_to_others_is_refused(tmp_path: Path) -> None:
    load_or_create_key(tmp_path)
    (tmp_path / "artifacts.key").chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        load_or_create_key(tmp_path)


def test_what_is_no_key_is_refused(tmp_path: Path) -> None:
    load_or_create_key(tmp_path)
    (tmp_path / "artifacts.key").write_bytes(b"short")
    with pytest.raises(ConfigurationError, match="hex digits"):
        load_or_create_key(tmp_path)


def test_a_key_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageUnavailableError):
        load_or_create_key(tmp_path / "file" / "data")
