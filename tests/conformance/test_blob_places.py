"""What every place for blobs must do. Each test runs on a local folder and on stores that fsspec reaches."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from oddtide.adapters.blobs.folder import Folder
from oddtide.adapters.blobs.places import Place
from oddtide.adapters.blobs.remote import Remote
from oddtide.adapters.blobs.signed import SignedBlobs
from oddtide.domain.errors import (
    ConfigurationError,
    MissingExtraError,
    NotFoundError,
    StorageUnavailableError,
    UntrustedArtifactError,
)
from oddtide.streams.ports import Artifacts, SnapshotStore

KEY = b"k" * 32


@pytest.fixture(params=["folder", "file", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "folder":
        return Folder(tmp_path / "blobs")
    return Remote(f"file://{tmp_path}/blobs" if request.param == "file" else f"memory://{uuid.uuid4()}/blobs")


def test_what_is_written_is_read_back_and_replaced(place: Place) -> None:
    place.write("a/b/c", [b"one", memoryview(b"two")])
    assert (place.read("a/b/c"), place.size("a/b/c")) == (b"onetwo", 6)
    place.write("a/b/c", [])
    assert (place.read("a/b/c"), place.size("a/b/c")) == (b"", 0)


def test_what_is_not_there_is_none(place: Place) -> None:
    assert (place.read("a/b"), place.size("a/b"), place.paths("a")) == (None, None, [])
    place.remove("a/b")


def test_paths_below_a_folder_are_listed_at_any_depth_and_alone(place: Place) -> None:
    for path in ("a/2/x", "a/1/x", "a/1/deep/y", "ab/x", "b"):
        place.write(path, [b"."])
    assert place.paths("a") == ["a/1/deep/y", "a/1/x", "a/2/x"]
    place.remove("a/1/x")
    place.write("a/3", [b"."])
    assert place.paths("a") == ["a/1/deep/y", "a/2/x", "a/3"]


def test_it_serves_as_a_store_of_artifacts_and_of_snapshots(place: Place) -> None:
    blobs = SignedBlobs(place, KEY)
    artifacts: Artifacts = blobs
    snapshots: SnapshotStore = blobs
    reference, digest = snapshots.put("app/t-0/7", [b"sta", memoryview(b"te")])
    assert reference == f"app/t-0/7/{digest}"
    assert snapshots.put("app/t-0/7", [b"state"]) == (reference, digest)
    other, _ = artifacts.put("app/t-0/8", b"model")
    assert snapshots.get(reference, digest) == b"state"
    assert snapshots.references("app/t-0") == [reference, other]
    assert (snapshots.references("app/t"), snapshots.references("app/t-0/7")) == ([], [reference])
    snapshots.delete(reference)
    snapshots.delete(reference)
    assert place.paths("app") == [other, f"{other}.hmac"]
    with pytest.raises(NotFoundError):
        snapshots.get(reference, digest)


def test_what_another_key_signed_or_nobody_is_refused(place: Place) -> None:
    blobs = SignedBlobs(place, KEY)
    reference, digest = SignedBlobs(place, b"other").put("m", b"model")
    with pytest.raises(UntrustedArtifactError, match="signature"):
        blobs.get(reference, digest)
    place.remove(f"{reference}.hmac")
    with pytest.raises(UntrustedArtifactError, match="signature"):
        blobs.get(reference, digest)
    place.write(reference, [b"Model"])
    with pytest.raises(UntrustedArtifactError, match="digest"):
        blobs.get(reference, digest)
    assert blobs.put("m", b"model") == (reference, digest)
    assert blobs.get(reference, digest) == b"model"


def test_nothing_but_a_reference_is_deleted(place: Place) -> None:
    place.write("a/b", [b"."])
    SignedBlobs(place, KEY).delete("a/b")
    assert place.paths("a") == ["a/b"]


def test_a_place_that_cannot_be_written_is_a_clear_error(place: Place, tmp_path: Path) -> None:
    place.write("a", [b"a file where a folder is wanted"])
    if str(place).startswith("memory"):
        pytest.skip("nothing stands in the way there: it has no folders")
    with pytest.raises(StorageUnavailableError, match="cannot be read or written"):
        place.write("a/b", [b"."])
    assert str(tmp_path) in str(place)


def test_a_store_whose_library_is_missing_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(url: str, **_: object) -> None:
        raise ImportError("Install some library to access it")

    monkeypatch.setattr("fsspec.core.url_to_fs", missing)
    for url, remedy in (("s3://b/p", "oddtide[s3]"), ("gs://b", "oddtide[gcs]"), ("hdfs://h", "Install some library")):
        with pytest.raises(MissingExtraError) as caught:
            Remote(url)
        assert remedy in caught.value.remedy


def test_a_protocol_that_nobody_knows_is_a_wrong_setting() -> None:
    with pytest.raises(ConfigurationError, match="nonsense"):
        Remote("nonsense://x")
