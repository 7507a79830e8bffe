"""Log lines: to stderr, for people or as JSON, and never a flood of the same one."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from oddtide.config.sections import LogSettings

__all__ = ["QuietRepeats", "configure", "keep_quiet"]

#: Libraries that say much in their own words; only what needs attention is passed on.
_NOISY = ("aiokafka", "faust", "kafka", "mode", "sqlalchemy", "alembic", "httpx", "httpcore", "asyncio")


class QuietRepeats(logging.Filter):
    """Lets a line of one logger and template through once per ``every_s`` seconds.

    An unreachable broker makes clients write thousands of equal lines a minute; the first of them says it all.
    """

    def __init__(self, every_s: float = 10.0, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._every_s = every_s
        self._clock = clock
        self._last: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        key = (record.name, str(record.msg)[:80])
        now = self._clock()
        if now - self._last.get(key, -self._every_s) < self._every_s:
            return False
        if len(self._last) > 1_000:
            self._last.clear()
        self._last[key] = now
        return True


def configure(settings: LogSettings) -> None:
    """Send every log line of the process to stderr, in one form."""
    level = getattr(logging, settings.level.upper())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if settings.format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            *shared,
            structlog.processors.format_exc_info,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    quiet = QuietRepeats()
    handler.addFilter(lambda record: not _is_service_chatter(record))
    handler.addFilter(lambda record: record.name.startswith("oddtide") or quiet.filter(record))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def keep_quiet() -> None:
    """For commands that end: what parts log below a warning is dropped, the rest goes to stderr, never
    among the results on stdout (structlog's own default). Alters nothing where :func:`configure` was called."""
    if structlog.is_configured():
        return
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            _drop_small_talk,
            structlog.dev.ConsoleRenderer(colors=False),
        ],
        # Looked up for each line: stderr may be another one by then.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )


def _drop_small_talk(logger: object, name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    if event["level"] in ("debug", "info"):
        raise structlog.DropEvent
    return event


def _is_service_chatter(record: logging.LogRecord) -> bool:
    """mode tells every start and stop of each of its services, under the names of our modules."""
    return record.levelno <= logging.INFO and str(record.msg).startswith("[^")
