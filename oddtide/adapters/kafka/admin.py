"""What there is on a cluster: topics, offsets, consumer groups. And making topics."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from oddtide.adapters.kafka.connection import KafkaConnection, connect, explained
from oddtide.domain.errors import ConfigurationError, NotFoundError

if TYPE_CHECKING:
    from kafka import KafkaAdminClient

__all__ = ["GroupMember", "KafkaAdmin", "TopicDescription", "TopicLike", "TopicMismatch"]

_REQUEST_TIMEOUT_MS = 10_000
_COORDINATOR_WITHIN_S = 10.0
_BROKERS_DEFAULT = -1

Answer = TypeVar("Answer")


class TopicLike(Protocol):
    """A topic as it must be. Of a ``foreign`` one (the producers') only the partitions must match."""

    @property
    def name(self) -> str: ...
    @property
    def partitions(self) -> int: ...
    @property
    def config(self) -> Mapping[str, str]: ...
    @property
    def foreign(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class TopicDescription:
    """A topic as it is. ``config`` holds every setting in force, also those left to the broker."""

    name: str
    partitions: int
    replication: int
    config: dict[str, str]


@dataclass(frozen=True, slots=True)
class TopicMismatch:
    """A way in which a topic is not as it must be. ``kind`` is ``missing``, ``partitions`` or ``config``."""

    topic: str
    kind: str
    problem: str
    remedy: str


@dataclass(frozen=True, slots=True)
class GroupMember:
    """A consumer in a group, and the (topic, partition) pairs that are its own now."""

    member_id: str
    client_id: str
    host: str
    partitions: tuple[tuple[str, int], ...]


class KafkaAdmin:
    """Asks and administers the cluster of ``connection``, which is connected to by the first call.

    Every method raises ``BrokerUnreachableError`` when no broker answers. Not for use by several threads at once.
    """

    def __init__(self, connection: KafkaConnection) -> None:
        self.connection = connection
        self._made: KafkaAdminClient | None = None

    def __enter__(self) -> KafkaAdmin:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection; a later call makes a new one."""
        if self._made is not None:
            self._made.close()
            self._made = None

    @property
    def _client(self) -> KafkaAdminClient:
        if self._made is None:
            from kafka import KafkaAdminClient

            self._made = connect(KafkaAdminClient, self.connection, request_timeout_ms=_REQUEST_TIMEOUT_MS)
        return self._made

    def ping(self) -> int:
        """The number of brokers; asks the cluster now."""
        with explained(self.connection):
            return len(self._client.describe_cluster()["brokers"])

    def names(self) -> list[str]:
        """Every topic but Kafka's own, sorted."""
        with explained(self.connection):
            return sorted(name for name in self._client.list_topics() if not name.startswith("__"))

    def describe(self, topic: str) -> TopicDescription:
        """The topic as it is. Raises ``NotFoundError``."""
        partitions, replication = self._shapes([topic]).get(topic) or self._missing(topic)
        return TopicDescription(topic, partitions, replication, self._configs([topic])[topic])

    def ensure(self, specs: Iterable[TopicLike], *, replication: int | None = None) -> list[str]:
        """Make the topics that are missing and wait until they can be used; returns their names.

        Those that exist are left as they are, whatever they are: see :meth:`mismatches`. ``replication`` None leaves
        the number of copies to the broker.
        """
        wanted = {spec.name: spec for spec in specs}
        missing = [name for name in wanted if name not in self._shapes(list(wanted))]
        if not missing:
            return []
        requests = {
            name: {
                "num_partitions": wanted[name].partitions,
                "replication_factor": replication or _BROKERS_DEFAULT,
                "configs": dict(wanted[name].config),
            }
            for name in missing
        }
        with explained(self.connection, ", ".join(missing)):
            answer = self._client.create_topics(requests, raise_errors=False)
            created = [topic["name"] for topic in answer["topics"] if self._was_created(topic)]
            self._client.wait_for_topics(missing)
        return created

    def mismatches(self, specs: Iterable[TopicLike]) -> list[TopicMismatch]:
        """Where the cluster's topics are not as they must be, each with what to do; empty when all is well."""
        wanted = {spec.name: spec for spec in specs}
        shapes = self._shapes(list(wanted))
        configs = self._configs([name for name in wanted if name in shapes])
        found: list[TopicMismatch] = []
        for name, spec in wanted.items():
            if name not in shapes:
                found.append(_missing_topic(name))
                continue
            if shapes[name][0] != spec.partitions:
                found.append(_wrong_partitions(spec, shapes[name][0]))
            if not spec.foreign:
                found += _wrong_settings(spec, configs[name])
        return found

    def delete(self, topics: Sequence[str]) -> None:
        """Remove topics with all their records. Raises ``NotFoundError`` where one does not exist."""
        with explained(self.connection, ", ".join(topics)):
            self._client.delete_topics(list(topics))

    def offsets(self, topic: str) -> dict[int, tuple[int, int]]:
        """By partition: the oldest offset kept and the one the next record will get. Raises ``NotFoundError``."""
        from kafka import TopicPartition
        from kafka.admin import OffsetSpec

        count, _ = self._shapes([topic]).get(topic) or self._missing(topic)
        where = [TopicPartition(topic, partition) for partition in range(count)]
        with explained(self.connection, topic):
            begins = self._client.list_partition_offsets(dict.fromkeys(where, OffsetSpec.EARLIEST))
            ends = self._client.list_partition_offsets(dict.fromkeys(where, OffsetSpec.LATEST))
        return {each.partition: (begins[each].offset, ends[each].offset) for each in where}

    def committed(self, group: str) -> dict[tuple[str, int], int]:
        """Next offset by (topic, partition) that the group has committed; empty for a group nobody knows."""
        found = self._of_group(group, lambda: self._client.list_group_offsets({group: None}).get(group, {}))
        return {(where.topic, where.partition): at.offset for where, at in found.items() if at.offset >= 0}

    def members(self, group: str) -> list[GroupMember]:
        """The group's consumers now, with what they own; empty for a group nobody knows."""
        described = self._of_group(group, lambda: self._client.describe_groups([group])[group])
        return [_member(each) for each in described["members"]]

    def _of_group(self, group: str, ask: Callable[[], Answer]) -> Answer:
        """Ask the group's coordinator, which a cluster may just be electing, or making for its very first group."""
        from kafka.errors import CoordinatorLoadInProgressError, CoordinatorNotAvailableError, NotCoordinatorError

        deadline = time.monotonic() + _COORDINATOR_WITHIN_S
        with explained(self.connection, group):
            while True:
                try:
                    return ask()
                except (CoordinatorLoadInProgressError, CoordinatorNotAvailableError, NotCoordinatorError):
                    if time.monotonic() > deadline:
                        raise
                time.sleep(0.05)

    def _shapes(self, topics: list[str]) -> dict[str, tuple[int, int]]:
        """(partitions, copies) of those of ``topics`` that exist."""
        with explained(self.connection, ", ".join(topics)):
            described = self._client.describe_topics(topics) if topics else []
        existing = (topic for topic in described if not topic["error_code"] and topic["partitions"])
        return {
            topic["name"]: (len(topic["partitions"]), len(topic["partitions"][0]["replica_nodes"]))
            for topic in existing
        }

    def _configs(self, topics: list[str]) -> dict[str, dict[str, str]]:
        from kafka.admin import ConfigResource, ConfigResourceType

        resources = [ConfigResource(ConfigResourceType.TOPIC, topic) for topic in topics]
        with explained(self.connection, ", ".join(topics)):
            answer = self._client.describe_configs(resources, config_filter="all") if topics else {}
        return {
            topic: {name: str(setting["value"]) for name, setting in settings.items()}
            for topic, settings in answer.get("topic", {}).items()
        }

    def _was_created(self, answer: Mapping[str, Any]) -> bool:
        """False where somebody else was faster. Raises ``ConfigurationError`` with Kafka's own reason."""
        from kafka.errors import NoError, TopicAlreadyExistsError, for_code

        kind = for_code(answer["error_code"])
        if kind is NoError:
            return True
        if kind is TopicAlreadyExistsError:
            return False
        reason = answer.get("error_message") or kind.__name__
        raise ConfigurationError(
            f"Kafka does not make the topic {answer['name']!r}: {str(reason).rstrip('.')}.",
            remedy="Check its name, kafka.replication and the settings of its stream.",
        )

    def _missing(self, topic: str) -> Any:
        raise NotFoundError(
            f"There is no topic {topic!r} on {self.connection.bootstrap}.",
            remedy="`oddtide topics list` shows those there are, `oddtide topics create` makes ours.",
        )


def _missing_topic(name: str) -> TopicMismatch:
    return TopicMismatch(name, "missing", f"The topic {name!r} is missing", "Run `oddtide topics create`.")


def _wrong_partitions(spec: TopicLike, actual: int) -> TopicMismatch:
    return TopicMismatch(
        spec.name,
        "partitions",
        f"The topic {spec.name!r} has {actual} partitions, not {spec.partitions}",
        f"Configure {actual} partitions for it, or move the stream to a new topic with `oddtide topics migrate`: "
        "partitions are never changed in place.",
    )


def _wrong_settings(spec: TopicLike, actual: Mapping[str, str]) -> list[TopicMismatch]:
    return [
        TopicMismatch(
            spec.name,
            "config",
            f"The topic {spec.name!r} has {name} = {actual.get(name)!r}, not {wanted!r}",
            f"Configure the value it has, or set it with Kafka's tools: "
            f"kafka-configs --alter --topic {spec.name} --add-config {name}={wanted}.",
        )
        for name, wanted in spec.config.items()
        if actual.get(name) != wanted
    ]


def _member(described: Mapping[str, Any]) -> GroupMember:
    assignment = described.get("member_assignment") or {}
    owned = assignment.get("assigned_partitions", ()) if isinstance(assignment, Mapping) else ()
    pairs = sorted((each["topic"], partition) for each in owned for partition in each["partitions"])
    host = str(described["client_host"]).lstrip("/")
    return GroupMember(described["member_id"], described["client_id"], host, tuple(pairs))
