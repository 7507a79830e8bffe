"""How the agents prove to Kafka who they are."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
from faust.auth import SASLCredentials, SSLCredentials

from oddtide.streams.broker import BrokerAccess


def test_plain_is_the_default() -> None:
    access = BrokerAccess("one:9092, two:9092")
    assert access.aiokafka_options() == {
        "bootstrap_servers": "one:9092, two:9092",
        "security_protocol": "PLAINTEXT",
    }
    assert access.faust_options() == {"broker": ["kafka://one:9092", "kafka://two:9092"]}


@pytest.mark.parametrize("protocol", ["SASL_PLAINTEXT", "SASL_SSL"])
def test_sasl_names_user_and_mechanism(protocol: str) -> None:
    security = {
        "security_protocol": protocol,
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_username": "ann",
        "sasl_password": "secret",
    }
    access = BrokerAccess("one:9092", security)
    options = access.aiokafka_options()
    assert (options["sasl_mechanism"], options["sasl_plain_username"]) == ("SCRAM-SHA-512", "ann")
    assert ("ssl_context" in options) == (protocol == "SASL_SSL")
    credentials = access.faust_options()["broker_credentials"]
    assert isinstance(credentials, SASLCredentials)
    assert (credentials.username, credentials.password) == ("ann", "secret")
    assert credentials.protocol.value == protocol


def test_sasl_without_a_mechanism_is_plain() -> None:
    access = BrokerAccess("one:9092", {"security_protocol": "SASL_SSL", "sasl_username": "a", "sasl_password": "b"})
    assert access.aiokafka_options()["sasl_mechanism"] == "PLAIN"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl, which makes the certificates, is not installed")
def test_tls_trusts_the_authority_and_shows_the_certificate(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    security = {
        "security_protocol": "SSL",
        "ssl_cafile": str(certificate),
        "ssl_certfile": str(certificate),
        "ssl_keyfile": str(key),
    }
    access = BrokerAccess("one:9092", security)
    context = access.aiokafka_options()["ssl_context"]
    assert isinstance(context, ssl.SSLContext)
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert len(context.get_ca_certs()) == 1
    assert isinstance(access.faust_options()["broker_credentials"], SSLCredentials)
