"""The schema's history, one file a step; :mod:`oddtide.adapters.storage.migrate` runs it."""
