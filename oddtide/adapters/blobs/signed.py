"""Blobs that are signed: content-addressed, refused unless a holder of the key wrote them.

Trained models and the states of some detectors are pickles, and loading a pickle runs code that lies in it. So what is
read back must be what was written here. Each blob has an HMAC-SHA256 beside it under a key that lies elsewhere; without
a valid one it is refused before a byte of it is interpreted.
"""

from __future__ import annotations

import hashlib
import hmac
import re

from oddtide.adapters.blobs.keys import KEY_FILE
from oddtide.adapters.blobs.places import Chunks, Place
from oddtide.domain.errors import NotFoundError, UntrustedArtifactError

__all__ = ["SignedBlobs"]

_PURPOSE = b"oddtide-blob-1"
_SUFFIX = ".hmac"
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_SEGMENT = r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}"
_REFERENCE = re.compile(rf"({_SEGMENT}/){{1,8}}[0-9a-f]{{64}}")
_LONGEST_NAME = 100
_MAKE_AGAIN = "A snapshot is made again by itself; a model must be trained again."


class SignedBlobs:
    """Blobs in ``place``, signed with ``key``; fits ``Artifacts`` and ``SnapshotStore`` of the agents.

    A name may have folders (``a/b``); a reference is the name and the digest. Guaranteed: what :meth:`get` returns was
    given to :meth:`put` by a holder of the key, under that reference and digest; a crash leaves no half blob. Not
    guaranteed: secrecy. Where the store does not answer, every method raises ``StorageUnavailableError``.
    """

    def __init__(self, place: Place, key: bytes) -> None:
        self._place = place
        self._key = key

    def put(self, name: str, content: bytes | Chunks) -> tuple[str, str]:
        """Store; returns (reference, digest). The same content under the same name is stored once."""
        chunks = [content] if isinstance(content, bytes) else content
        digest = _digest(chunks)
        reference = f"{'/'.join(_safe(part) for part in name.split('/'))}/{digest}"
        # The signature first: where the content is, its signature is.
        self._place.write(reference + _SUFFIX, [self._sign(reference, digest).encode()])
        if not self._is_there(reference, digest, chunks):
            self._place.write(reference, chunks)
        return reference, digest

    def _is_there(self, reference: str, digest: str, chunks: Chunks) -> bool:
        if self._place.size(reference) != sum(len(chunk) for chunk in chunks):
            return False
        found = self._place.read(reference)
        return found is not None and _digest([found]) == digest

    def get(self, reference: str, digest: str) -> bytes:
        """Read back. Raises ``NotFoundError``, or ``UntrustedArtifactError`` when signature or digest is wrong."""
        if not _REFERENCE.fullmatch(reference):
            raise UntrustedArtifactError(f"{reference!r} is no reference to a blob.", remedy=_MAKE_AGAIN)
        content = self._place.read(reference)
        if content is None:
            raise NotFoundError(
                f"There is no blob {reference} in {self._place}.",
                remedy="Let all workers share one store. " + _MAKE_AGAIN,
            )
        if _digest([content]) != digest:
            raise UntrustedArtifactError(f"The blob {reference} has not the digest {digest}.", remedy=_MAKE_AGAIN)
        signature = self._place.read(reference + _SUFFIX) or b""
        if not hmac.compare_digest(self._sign(reference, digest).encode(), signature):
            raise UntrustedArtifactError(
                f"The blob {reference} has no valid signature.",
                remedy=f"Was it made under another {KEY_FILE}? Put that key back. {_MAKE_AGAIN}",
            )
        return content

    def references(self, name: str) -> list[str]:
        """Every blob under ``name`` and its subfolders, sorted."""
        under = "/".join(_safe(part) for part in name.split("/"))
        return [path for path in self._place.paths(under) if _REFERENCE.fullmatch(path)]

    def delete(self, reference: str) -> None:
        """Delete a blob; nothing happens where there is none."""
        if _REFERENCE.fullmatch(reference):
            self._place.remove(reference)
            self._place.remove(reference + _SUFFIX)

    def _sign(self, reference: str, digest: str) -> str:
        message = b"\0".join((_PURPOSE, reference.encode(), digest.encode()))
        return hmac.new(self._key, message, hashlib.sha256).hexdigest()


def _digest(chunks: Chunks) -> str:
    running = hashlib.blake2b(digest_size=32)
    for chunk in chunks:
        running.update(chunk)
    return running.hexdigest()


def _safe(name: str) -> str:
    """A name for a folder: itself where it is plain, told apart by a digest where not."""
    plain = _UNSAFE.sub("-", name).lstrip(".")[:_LONGEST_NAME]
    if plain == name and plain:
        return plain
    return f"{plain or 'model'}-{hashlib.blake2b(name.encode('utf-8', 'surrogatepass'), digest_size=6).hexdigest()}"
