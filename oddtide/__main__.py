"""``python -m oddtide``."""

from __future__ import annotations

from oddtide.config.cli import main

if __name__ == "__main__":
    main()
