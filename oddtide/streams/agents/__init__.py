"""The agents, one module a role, each a Faust app with a consumer group of its own.

**ingest** (:mod:`.ingest`) turns readings into verdicts: one owner per partition, one transaction per batch.
**observability** (:mod:`.observability`) decides alerts and projects what the platform says into read models.
**mlops** trains models, keeps their registry and decides what is in force.
**health** says that a worker lives, notices those that fell silent, and audits the ledger.

Two ways of sharing work occur. Where partitions are independent (ingest, projecting) the group spreads them over the
workers. Where a decision mixes partitions (alerts, model versions) one worker at a time decides and the others stand by
(:mod:`.sole_owner`), and what it decided is an event that everybody folds (:mod:`.decisions`).
"""
