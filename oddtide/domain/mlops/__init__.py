"""MLOps: which model is in force, where it came from, and how to go back.

Some detectors learn as they go; others are *trained*: somebody picks a stretch of history, fits a model to it and puts
the result to work. Months later the question is always the same: what exactly is running, what was it trained on, and
what was there before? The registry answers it, because it is nothing but a fold of what was logged.

**Model, version, alias.** A *model* is a name with a purpose: one algorithm for one stream. Every training adds a
*version*, numbered from 1, never changed afterwards. An *alias* points at a version: ``champion`` is in force,
``challenger`` sees the same traffic without a say. Moving an alias is a *promotion*; moving the champion back to an
earlier version is a *rollback*. Both are events, so the past is never overwritten.

**Lineage.** A version names the offset ranges of the log that it was trained on. The log being the database, that is
the exact training set, not a description of it; the digest names the exact artifact.

**Requests and facts.** ``TrainModel`` and ``PromoteModel`` may be refused, with the reason. What was done carries the
request's id as its causation, so a request that is read twice after a crash is recognised and done once. A training
that fails is a fact too (``TrainingFailed``), and changes nothing that is in force.
"""

from oddtide.domain.mlops.registry import CHALLENGER, CHAMPION, Model, Registry, Training, default_name

__all__ = ["CHALLENGER", "CHAMPION", "Model", "Registry", "Training", "default_name"]
