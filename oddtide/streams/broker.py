"""How the agents reach Kafka: plain values, turned into what aiokafka and Faust want."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["BrokerAccess"]


@dataclass(frozen=True, slots=True)
class BrokerAccess:
    """A cluster's address and how to prove who we are.

    ``security`` may hold ``security_protocol`` (PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL), ``ssl_cafile``,
    ``ssl_certfile``, ``ssl_keyfile``, ``sasl_mechanism``, ``sasl_username`` and ``sasl_password``.
    """

    bootstrap: str
    security: Mapping[str, Any] = field(default_factory=dict)

    @property
    def protocol(self) -> str:
        """The security protocol in force."""
        return str(self.security.get("security_protocol") or "PLAINTEXT")

    def aiokafka_options(self) -> dict[str, Any]:
        """Keywords for aiokafka's clients."""
        options: dict[str, Any] = {"bootstrap_servers": self.bootstrap, "security_protocol": self.protocol}
        if self.protocol.endswith("SSL"):
            options["ssl_context"] = self._tls()
        if self.protocol.startswith("SASL"):
            options["sasl_mechanism"] = self._sasl("sasl_mechanism") or "PLAIN"
            options["sasl_plain_username"] = self._sasl("sasl_username")
            options["sasl_plain_password"] = self._sasl("sasl_password")
        return options

    def faust_options(self) -> dict[str, Any]:
        """Settings for a Faust app: the broker's URLs and credentials."""
        from faust.auth import SASLCredentials, SSLCredentials

        urls = [f"kafka://{server.strip()}" for server in self.bootstrap.split(",")]
        options: dict[str, Any] = {"broker": urls}
        if self.protocol.startswith("SASL"):
            options["broker_credentials"] = SASLCredentials(
                mechanism=self._sasl("sasl_mechanism") or "PLAIN",
                username=self._sasl("sasl_username"),
                password=self._sasl("sasl_password"),
                ssl_context=self._tls() if self.protocol.endswith("SSL") else None,
            )
        elif self.protocol == "SSL":
            options["broker_credentials"] = SSLCredentials(context=self._tls())
        return options

    def _sasl(self, name: str) -> str:
        return str(self.security.get(name) or "")

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.security.get("ssl_cafile"))
        certificate = self.security.get("ssl_certfile")
        if certificate:
            context.load_cert_chain(certificate, self.security.get("ssl_keyfile"))
        return context
