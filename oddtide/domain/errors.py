"""The one tree of exceptions.

Every message says what is wrong, shows the offending value and ends with the remedy. The command line
turns an error into one line on stderr and the exit code of its class (in brackets)::

    OddtideError                      [1]
    ├── UsageError                    [2]  the call itself is wrong
    ├── NotFoundError                 [3]  no such topic, series, model, alert, verdict
    ├── ConfigurationError            [4]  a setting or the file that holds it
    │   ├── ContractError             [4]  what a stream promises cannot be kept by its declaration
    │   └── MissingExtraError         [4]  an optional part is not installed; names the extra
    ├── DependencyError               [5]  something outside the process
    │   ├── BrokerUnreachableError    [5]  no Kafka at the address
    │   ├── StorageUnavailableError   [5]  database, disk full, folder not writable
    │   └── DownloadError             [5]  the embedded Kafka's parts could not be fetched
    ├── CheckFailedError              [6]  a check ran and found a difference
    ├── BrokenPromiseError            [7]  going on would break a promise; trying again does not help
    │   ├── FoldError                 [7]  records cannot be folded: a bug, named with their offsets
    │   ├── FencedError               [7]  another process took this one's place
    │   ├── SchemaVersionError        [7]  an event of a version newer than this build knows
    │   └── StateMismatchError        [7]  a rebuilt state differs from what the ledger says
    ├── CommandRefusedError           [1]  a command was understood and refused
    ├── DecodeError                   [1]  bytes are not what they claim to be
    └── UntrustedArtifactError        [1]  an artifact without a valid signature
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "BrokenPromiseError",
    "BrokerUnreachableError",
    "CheckFailedError",
    "CommandRefusedError",
    "ConfigurationError",
    "ContractError",
    "DecodeError",
    "DependencyError",
    "DownloadError",
    "FencedError",
    "FoldError",
    "MissingExtraError",
    "NotFoundError",
    "OddtideError",
    "SchemaVersionError",
    "StateMismatchError",
    "StorageUnavailableError",
    "UntrustedArtifactError",
    "UsageError",
]


class OddtideError(Exception):
    """Base of everything raised on purpose. ``exit_code`` is what the CLI ends with."""

    exit_code: ClassVar[int] = 1

    def __init__(self, problem: str, *, remedy: str = "") -> None:
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{problem} {remedy}".strip())


class UsageError(OddtideError):
    """The call itself is wrong: an argument, a shape, a combination."""

    exit_code = 2


class NotFoundError(OddtideError):
    """What was asked for by name does not exist."""

    exit_code = 3


class ConfigurationError(OddtideError):
    """A setting, or the file that holds it, cannot be used."""

    exit_code = 4


class ContractError(ConfigurationError):
    """A stream's declaration contradicts itself."""


class MissingExtraError(ConfigurationError):
    """An optional part is not installed; the remedy names the extra."""


class DependencyError(OddtideError):
    """Something outside the process does not answer."""

    exit_code = 5


class BrokerUnreachableError(DependencyError):
    """No Kafka broker answers at the address."""


class StorageUnavailableError(DependencyError):
    """A database or folder cannot be read or written."""


class DownloadError(DependencyError):
    """Parts of the embedded Kafka could not be fetched."""


class CheckFailedError(OddtideError):
    """A check ran to its end and found a difference."""

    exit_code = 6


class BrokenPromiseError(OddtideError):
    """Going on would break a promise, and trying again does not help: the process ends, and is not started again."""

    exit_code = 7


class FencedError(BrokenPromiseError):
    """Another process took this one's place for good."""


class SchemaVersionError(BrokenPromiseError):
    """An event's schema version is newer than this build knows."""


class StateMismatchError(BrokenPromiseError):
    """A rebuilt state differs from what the ledger says it was."""


class CommandRefusedError(OddtideError):
    """A command was understood and refused."""


class DecodeError(OddtideError):
    """Bytes are not what they claim to be.

    ``reason`` is one of the documented rejection reasons, ``detail`` the one line a person reads.
    """

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")


class UntrustedArtifactError(OddtideError):
    """An artifact that would be unpickled has no valid signature."""


class FoldError(BrokenPromiseError):
    """Records could not be folded into a partition's state: a bug, since no input may cause that. Folding them again
    would come to the same end."""
