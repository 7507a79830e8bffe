"""The files that the broker is started with: its settings and how it logs."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

__all__ = ["cluster_id", "logging_properties", "server_properties"]


def server_properties(*, port: int, controller_port: int) -> str:
    """Settings of a single node that is broker and controller. One copy of everything; small, so that it starts fast.

    Topics are never made by being asked for: Faust would find them with the wrong number of partitions. Paths are
    relative to the folder that the broker is started in, so that no character of its name needs escaping.
    """
    settings = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": "data",
        "auto.create.topics.enable": "false",
        "num.partitions": "1",
        "default.replication.factor": "1",
        "min.insync.replicas": "1",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "8",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "8",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "1",
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        "num.network.threads": "2",
        "num.io.threads": "4",
        "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
        "log.retention.check.interval.ms": "60000",
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def logging_properties() -> str:
    """Warnings and worse into ``logs/kafka.log``, at most about 20 MB in two files."""
    lines = [
        "status=error",
        "appender.file.type=RollingFile",
        "appender.file.name=file",
        "appender.file.fileName=logs/kafka.log",
        "appender.file.filePattern=logs/kafka.log.%i",
        "appender.file.layout.type=PatternLayout",
        "appender.file.layout.pattern=%d{yyyy-MM-dd'T'HH:mm:ss.SSSXXX} %p %m (%c)%n",
        "appender.file.policies.type=Policies",
        "appender.file.policies.size.type=SizeBasedTriggeringPolicy",
        "appender.file.policies.size.size=10MB",
        "appender.file.strategy.type=DefaultRolloverStrategy",
        "appender.file.strategy.max=1",
        "rootLogger.level=warn",
        "rootLogger.appenderRef.file.ref=file",
    ]
    return "\n".join(lines) + "\n"


def cluster_id(folder: Path) -> str:
    """The cluster's id, derived from where it lies: 16 bytes in URL-safe base64, as Kafka writes them.

    It never begins with ``-``, which Kafka's storage tool would take for an option.
    """
    first, *rest = hashlib.sha256(str(folder).encode()).digest()[:16]
    return base64.urlsafe_b64encode(bytes([first & 0x7F, *rest])).decode().rstrip("=")
