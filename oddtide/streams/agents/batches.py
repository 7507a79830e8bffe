"""The former place of :mod:`oddtide.streams.logged`."""

from __future__ import annotations

from oddtide.streams.logged import logged_events

__all__ = ["logged_events"]
