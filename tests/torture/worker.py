"""The shipped command line, with faults: ``python -m tests.torture.worker --config FILE worker --roles ingest``."""

from __future__ import annotations

import os

from oddtide.config.cli import main
from tests.torture.faults import FaultPlan
from tests.torture.points import install

if __name__ == "__main__":
    plan = FaultPlan.from_environment(os.environ)
    if plan is not None:
        install(plan)
    main()
