"""Ports: which are free, and whether a Kafka answers. Speaks just enough of Kafka's protocol for one question."""

from __future__ import annotations

import socket
import struct

__all__ = ["answers", "free_port", "is_free"]

_HOST = "127.0.0.1"
_METADATA, _VERSION, _CORRELATION = 3, 0, 7


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as server:
        server.bind((_HOST, 0))
        return int(server.getsockname()[1])


def is_free(port: int) -> bool:
    """Whether a server could listen on ``port`` now."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((_HOST, port))
            server.listen(1)
        except OSError:
            return False
    return True


def answers(port: int, timeout_s: float = 1.0) -> bool:
    """Whether a Kafka that can serve listens on ``port``: it answers a metadata request with at least one broker."""
    client = b"oddtide"
    request = struct.pack(">hhih", _METADATA, _VERSION, _CORRELATION, len(client)) + client + struct.pack(">i", 1)
    request += struct.pack(">h", 1) + b"_"
    try:
        with socket.create_connection((_HOST, port), timeout=timeout_s) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            head = _read(connection, 12)
    except OSError:
        return False
    _, correlation, brokers = struct.unpack(">iii", head)
    return bool(correlation == _CORRELATION and brokers > 0)


def _read(connection: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        if not (part := connection.recv(length - len(data))):
            raise ConnectionError("closed")
        data += part
    return data
