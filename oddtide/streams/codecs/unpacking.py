"""What Kafka's record batches are compressed with, within bounds: a megabyte of zstd may hold gigabytes."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from typing import Final

import aiokafka.codec as codec
import numpy as np
from aiokafka.errors import CorruptRecordException, UnsupportedCodecError

__all__ = ["LARGEST_UNPACKED", "unpacked"]

#: The most that a compressed batch may hold (bytes); a quarter of it is enough for one look at the log. A megabyte of
#: zstd could hold 32 GiB of zeros, which nobody means.
LARGEST_UNPACKED = 256 << 20
#: A byte of lz4 stands for no more; one of snappy for 21.
_MOST_BY_LZ4: Final = 255


def _gunzip(content: bytes) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        unpacked = file.read(LARGEST_UNPACKED + 1)
    if len(unpacked) > LARGEST_UNPACKED:
        raise _too_large()
    return unpacked


def _unpack_lz4(content: bytes) -> bytes:
    if len(content) * _MOST_BY_LZ4 <= LARGEST_UNPACKED:
        return codec.lz4_decode(content)
    return _within_bounds(content, "lz4")


def _unpack_zstd(content: bytes) -> bytes:
    return _within_bounds(content, "zstd")


def _within_bounds(content: bytes, name: str) -> bytes:
    import cramjam

    room = np.empty(LARGEST_UNPACKED, dtype=np.uint8)  # what is not written to takes no memory
    try:
        size = getattr(cramjam, name).decompress_into(content, room.data)
    except cramjam.DecompressionError as error:
        raise (_too_large() if "whole buffer" in str(error) else error) from None
    return room[:size].tobytes()


def _too_large() -> ValueError:
    return ValueError(f"they are more than {LARGEST_UNPACKED >> 20} MiB")


#: By Kafka's number: name, whether it can be read here, how.
_CODECS: Final[dict[int, tuple[str, Callable[[], bool], Callable[[bytes], bytes]]]] = {
    1: ("gzip", codec.has_gzip, _gunzip),
    2: ("snappy", codec.has_snappy, codec.snappy_decode),
    3: ("lz4", codec.has_lz4, _unpack_lz4),
    4: ("zstd", codec.has_zstd, _unpack_zstd),
}


def unpacked(content: memoryview, number: int) -> bytes:
    """What a batch holds that is compressed with Kafka's codec ``number``.

    Raises ``CorruptRecordException`` where it cannot be read or is too large, and ``UnsupportedCodecError``."""
    known = _CODECS.get(number)
    if known is None:
        raise UnsupportedCodecError(f"records are compressed in a way unknown here (codec {number})")
    name, available, decode = known
    if not available():
        raise UnsupportedCodecError(f"records are compressed with {name}, which needs cramjam: pip install cramjam")
    try:
        return decode(content.tobytes())
    except Exception as error:  # each codec has its own
        raise CorruptRecordException(f"records compressed with {name} cannot be read: {error}") from None
