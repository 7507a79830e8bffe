"""One partition's fold: records in, verdicts and events out.

A batch passes five stages, each over columns of all its readings at once, each in log order:

1. **decode** (``oddtide.streams.codecs``): bytes into readings, or a refusal with its reason
2. **validate**: the stream's contract; what breaks it is rejected, skipped or only reported
3. **profile** (:mod:`.profiling`): what the data looks like, published at exact counts of readings
4. **score, then learn**: every detector of the plan, row by row, and one verdict out of several (:mod:`.verdicts`)
5. **watch for drift** (:mod:`.drifting`), where the plan says ``deep``

Beside that, :mod:`.absences` follows who has fallen silent, where the plan says so.

:mod:`.plan` is everything that decides a verdict, as values; :mod:`.processor` is the fold; :mod:`.outcome` what a
batch yields, its ledger record included; :mod:`.frames` every verdict of a batch in one message;
:mod:`.running_hash` the proof that two histories agree.

Nothing here knows Kafka, Faust or a clock. The ingest agent and ``oddtide detect`` run the same code.
"""
