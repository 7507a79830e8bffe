"""The demo's worker: a process of its own, as on any machine."""

from __future__ import annotations

import os
import select
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from oddtide.config.demo.setting import Setting
from oddtide.config.processes import BackgroundWorker, own_command
from oddtide.domain.errors import OddtideError

__all__ = ["DemoWorker"]

_STOP_S = 20.0
_READY_S = 120.0
#: Variables that are no settings and stay.
_NOT_SETTINGS = frozenset({"ODDTIDE_JAVA"})


class DemoWorker:
    """Starts the worker on entering and ends it on leaving; a tether ends it too should this process vanish. With
    ``keep`` it is the folder's background worker, as ``oddtide up --detach`` leaves one, and is ended by leaving only
    when something went wrong. One that an earlier run left is ended first."""

    def __init__(self, setting: Setting, report: Callable[[str], None], *, keep: bool) -> None:
        self._setting = setting
        self._report = report
        self._keep = keep
        self._background = BackgroundWorker(setting.folder)
        self._process: subprocess.Popen[bytes] | None = None
        self._tether = self._ready = -1
        self.is_ready = False

    def __enter__(self) -> Self:
        self._background.stop()
        command = own_command("worker", "--config", str(self._setting.config))
        if self._keep:
            with _without_settings():
                self._background.start(command, wait_s=_READY_S)
            self._up()
        else:
            self._start(command)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._keep:
            self._background.stop()
            return
        process = self._process
        if process is not None:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for descriptor in (self._tether, self._ready):
            if descriptor >= 0:
                os.close(descriptor)
        self._tether = self._ready = -1

    def check(self) -> None:
        """Notice that it is up. Raises ``OddtideError`` with the last line of its log when it has ended."""
        if not self.is_ready and self._ready >= 0 and select.select([self._ready], [], [], 0)[0] and self._told():
            self._up()
        if self._keep:
            if self._background.pid() is None:
                raise self._ended("")
        elif self._process is not None and (code := self._process.poll()) is not None:
            raise self._ended(f" with exit code {code}")

    def _told(self) -> bool:
        return bool(os.read(self._ready, 1))

    def _up(self) -> None:
        self.is_ready = True
        self._report("The worker is up.")

    def _start(self, command: list[str]) -> None:
        theirs, self._tether = os.pipe()
        self._ready, told = os.pipe()
        try:
            with self._setting.log.open("ab") as log:
                self._process = subprocess.Popen(
                    [*command, "--tether", str(theirs), "--ready-fd", str(told)],
                    env=_environment(),
                    pass_fds=(theirs, told),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        finally:
            os.close(theirs)
            os.close(told)

    def _ended(self, how: str) -> OddtideError:
        log = self._background.log
        last = log.read_text(errors="replace").strip().splitlines()[-1:] if log.exists() else []
        return OddtideError(
            f"The worker ended{how}: {''.join(last) or 'it left no reason'}.", remedy=f"Its log is {log}."
        )


def _environment() -> Mapping[str, str]:
    """Ours without settings: the demo's file alone says how it runs."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith("ODDTIDE_") or name in _NOT_SETTINGS
    }


@contextmanager
def _without_settings() -> Iterator[None]:
    before, kept = dict(os.environ), _environment()
    for name in before.keys() - kept.keys():
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(before)
