"""Blobs in any store that fsspec reaches: ``s3://``, ``gs://``, ``abfs://``, ``file://``, ``memory://`` and more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import fsspec

from oddtide.adapters.blobs.places import Chunks
from oddtide.domain.errors import ConfigurationError, MissingExtraError, StorageUnavailableError

__all__ = ["Remote"]

_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "az": "azure", "abfs": "azure", "abfss": "azure"}
Answer = TypeVar("Answer")


class Remote:
    """Objects below ``url``. ``options`` are the store's own (endpoint, credentials), as fsspec names them.

    Whole or not at all, as far as the store writes objects so; S3, GCS and Azure do. Raises ``MissingExtraError`` where
    the store's library is not installed, and ``ConfigurationError`` for a protocol that nobody knows.
    """

    def __init__(self, url: str, options: dict[str, Any] | None = None) -> None:
        self._url = url
        protocol = url.partition("://")[0]
        try:
            self._files, root = fsspec.core.url_to_fs(url, **(options or {}))
        except ImportError as error:
            extra = _EXTRAS.get(protocol)
            how = f"pip install 'oddtide[{extra}]'" if extra else str(error)
            raise MissingExtraError(f"{url} needs a library that is not installed.", remedy=f"Run: {how}") from None
        except ValueError as error:
            raise ConfigurationError(
                f"{url} is no store: {error}.", remedy="Use s3://, gs://, abfs://, or a folder."
            ) from None
        self._root = root.rstrip("/")

    def __str__(self) -> str:
        return self._url

    def write(self, path: str, chunks: Chunks) -> None:
        """Store as one object."""
        whole = self._path(path)

        def put() -> None:
            # Stores without folders do nothing here.
            self._files.makedirs(whole.rpartition("/")[0], exist_ok=True)
            self._files.pipe_file(whole, b"".join(chunks))

        self._ask(path, put)

    def read(self, path: str) -> bytes | None:
        """The content, or None."""

        def fetch() -> bytes | None:
            try:
                return bytes(self._files.cat_file(self._path(path)))
            except FileNotFoundError:
                return None

        return self._ask(path, fetch)

    def size(self, path: str) -> int | None:
        """The object's size, or None."""

        def look() -> int | None:
            try:
                return int(self._files.info(self._path(path))["size"])
            except FileNotFoundError:
                return None

        return self._ask(path, look)

    def paths(self, under: str) -> list[str]:
        """Every object below ``under``."""

        def listed() -> list[str]:
            self._files.invalidate_cache()  # others write here too
            skip = len(self._root) + 1
            return sorted(str(found)[skip:] for found in self._files.find(self._path(under)))

        return self._ask(under, listed)

    def remove(self, path: str) -> None:
        """Delete an object."""

        def delete() -> None:
            try:
                self._files.rm_file(self._path(path))
            except FileNotFoundError:
                return

        self._ask(path, delete)

    def _path(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _ask(self, path: str, work: Callable[[], Answer]) -> Answer:
        try:
            return work()
        except Exception as error:  # each store's library has errors of its own
            raise StorageUnavailableError(
                f"{self._url}/{path} cannot be read or written: {str(error) or type(error).__name__}.",
                remedy="Check the store, its credentials and this machine's network.",
            ) from error
