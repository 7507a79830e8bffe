"""Sockets that are closed when they could not be connected.

kafka-python 3 leaves that to the garbage collector, which warns of each while a broker is away. It chooses the class of
its sockets by the scheme of ``proxy_url``; this one stands for "no proxy".
"""

from __future__ import annotations

import socket
from typing import Any

from kafka.net.inet import KafkaNetSocket

__all__ = ["NO_PROXY", "ClosingSocket"]

NO_PROXY = "oddtide-no-proxy://"


class ClosingSocket(KafkaNetSocket):
    """Connects like its base, and closes what did not get through."""

    SCHEMES = ("oddtide-no-proxy",)

    async def sock_connect(
        self, net: Any, sock: socket.socket, sockaddr: Any, timeout_at: float | None = None
    ) -> socket.socket:
        """The connected ``sock``. Raises kafka-python's errors."""
        try:
            return await super().sock_connect(net, sock, sockaddr, timeout_at=timeout_at)
        except BaseException:
            sock.close()
            raise
