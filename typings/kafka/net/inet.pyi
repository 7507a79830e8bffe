import socket
from collections.abc import Sequence
from typing import Any, ClassVar

class KafkaNetSocket:
    SCHEMES: ClassVar[Sequence[str]]
    async def sock_connect(
        self, net: Any, sock: socket.socket, sockaddr: Any, timeout_at: float | None = None
    ) -> socket.socket: ...
