"""Errors as a person at a terminal wants them: one line with a remedy, and an exit code."""

from __future__ import annotations

import errno
import os
import sys
import traceback

import rich_click as click

from oddtide.domain.errors import OddtideError

__all__ = ["INTERRUPTED", "report"]

INTERRUPTED = 130
_FAILURE, _NOT_FOUND, _UNREACHABLE = 1, 3, 5

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
_NOT_WRITABLE = {errno.EACCES, errno.EROFS, errno.EPERM}


def report(error: BaseException, *, verbose: bool) -> int:
    """Say ``error`` in one line on stderr; returns the exit code.

    A reader that went away (``| head``) is no error: the rest of the output is dropped and 0 returned.
    """
    if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "Abort":
        click.echo("interrupted", err=True)
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):
        _drop_output()
        return 0
    if verbose:
        traceback.print_exception(error, file=sys.stderr)
    line, code = _describe(error)
    click.echo(f"oddtide: {' '.join(line.split())}", err=True)
    return code


def _drop_output() -> None:
    """Point stdout at nothing, so that the interpreter's last flush cannot fail either."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)


def _describe(error: BaseException) -> tuple[str, int]:
    if isinstance(error, OddtideError):
        return str(error), error.exit_code
    if isinstance(error, OSError):
        return _describe_os_error(error)
    return f"unexpected {type(error).__name__}: {error} (--verbose shows where; please report it)", _FAILURE


def _describe_os_error(error: OSError) -> tuple[str, int]:
    place = f": {error.filename}" if error.filename else ""
    reason = error.strerror or str(error)
    if error.errno in _DISK_FULL:
        return (
            f"The disk is full{place}. Free some space, or set data_folder to a folder on another disk.",
            _UNREACHABLE,
        )
    if error.errno == errno.EADDRINUSE:
        return f"The port is in use ({reason}). Stop what listens there, or set another port.", _UNREACHABLE
    if error.errno in _NOT_WRITABLE:
        return f"No permission{place} ({reason}). Change the permissions, or set data_folder elsewhere.", _UNREACHABLE
    if isinstance(error, FileNotFoundError):
        return f"No such file{place}. Check the path.", _NOT_FOUND
    return f"{reason}{place}", _FAILURE
