"""Read models in SQL: SQLite in the data folder, or PostgreSQL, with the same schema and the same content.

A *read model* answers questions (which alerts are open? who has this partition?) that the log answers too, but only
to those who read it from the start. Here each is a *projection*: a fold of events into tables, in
``projections``, one file each. Projections that an agent folds together form a group (``observability``, ``health``,
``mlops``) with one *tracking position* per partition, moved in the transaction that changes the state, so a crash
between the two cannot be. The log stays the truth: a group can be emptied and folded again, and is the same after
that, which :meth:`SqlReadModels.content_hash` proves.

What must not happen twice, a notification, waits in the *outbox*, a table beside the projections that is written in
the same transaction and left alone by a rebuild.
"""

from __future__ import annotations

from oddtide.adapters.storage.read_models import SqlReadModels

__all__ = ["SqlReadModels"]
