"""Asking the agents: a command goes to the log, the event that answers it is awaited there."""

from __future__ import annotations

import getpass
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from oddtide.domain.errors import CommandRefusedError, DecodeError, DependencyError
from oddtide.domain.events import Command, Event, Message
from oddtide.domain.mlops.events import TrainingFailed
from oddtide.domain.observability.events import CommandRefused
from oddtide.domain.readings import rfc3339

if TYPE_CHECKING:
    from oddtide.config.composition import Composition
    from oddtide.streams.envelope import Envelope

__all__ = ["ask", "now", "publish", "who"]

_SOURCE = "/{application}/cli"


def who() -> str:
    """The person at the terminal, as events name them."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def now(composition: Composition) -> str:
    """The moment, as events write it."""
    return rfc3339(composition.clock())


def publish(composition: Composition, role: str, event: Message, *, key: str, id: str) -> None:
    """Publish one event or command to the topic of ``role``; back when the cluster has it."""
    from oddtide.streams.envelope import seal

    source = _SOURCE.format(application=composition.settings.application)
    value, headers = seal(event, id=id, source=source, subject=key, time=now(composition))
    with composition.writer() as writer:
        writer.send(composition.catalogue().name(role), value, key=key.encode() or None, headers=headers).wait()


def ask(
    composition: Composition,
    command: Command,
    *,
    target: str,
    answers: str,
    wanted: Sequence[type[Event]],
    wait_s: float,
) -> Event:
    """Publish ``command`` and wait for the event on the topic of role ``answers`` that it caused.

    Raises ``CommandRefusedError`` when the agent refuses, ``DependencyError`` when no answer comes within ``wait_s``;
    the command then stays in the log and may still be carried out.
    """
    from oddtide.streams.envelope import derive_id

    name = type(command).__name__
    ident = derive_id("command", name, target, who(), composition.clock())
    topic = composition.catalogue().name(answers)
    with composition.admin() as admin:
        start = {partition: end for partition, (_, end) in admin.offsets(topic).items()}
    publish(composition, "commands", command, key=target, id=ident)
    found = _await(composition, topic, start, ident, (*wanted, CommandRefused, TrainingFailed), wait_s)
    if found is None:
        raise DependencyError(
            f"No agent answered {name} for {target!r} within {wait_s:g} s; it stays in the log.",
            remedy="Is a worker running? `oddtide status` shows them.",
        )
    if isinstance(found, CommandRefused | TrainingFailed):
        raise CommandRefusedError(f"{name} for {target!r} was refused: {found.reason.rstrip('.')}.")
    return found


def _await(
    composition: Composition,
    topic: str,
    start: dict[int, int],
    ident: str,
    kinds: tuple[type[Event], ...],
    wait_s: float,
) -> Event | None:
    from oddtide.streams.envelope import open_envelope

    with composition.reader() as reader:
        alarm = threading.Timer(wait_s, reader.close)
        alarm.daemon = True
        alarm.start()
        try:
            for record in reader.read(topic, start=start, stop_at_end=False):
                try:
                    envelope, event = open_envelope(record.value, record.headers)
                except DecodeError:
                    continue
                if isinstance(event, kinds) and _answers(envelope, event, ident):
                    return event
        finally:
            alarm.cancel()
    return None


def _answers(envelope: Envelope, event: Event, ident: str) -> bool:
    return ident in (envelope.causation, envelope.correlation, getattr(event, "causation", ""))
