"""The demo: a Kafka, a worker, real data in, detections out, in one command and leaving nothing behind but its data.

``setting`` lays out its folder and settings, ``feeding`` pushes river's data sets at speed and then this machine's
metrics every second, ``watching`` reads what comes out of the log, ``account`` keeps count and holds what was found
against what is documented, ``running`` starts it all, and ends it whatever happens.
"""

from __future__ import annotations

from oddtide.config.demo.account import Account, Summary
from oddtide.config.demo.running import run_demo

__all__ = ["Account", "Summary", "run_demo"]
