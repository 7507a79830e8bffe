"""Signed bytes by name, trained models and snapshots of state: in a local folder or any store that fsspec reaches."""
