"""The domains: business logic without I/O, without a clock, without randomness of its own.

Readings come in; six domains ask six questions of them. *Quality*: does the reading keep its stream's contract?
*Profiling*: what does the data look like? *Detection*: is this reading strange? *Drift*: has the distribution
changed? *Observability*: who must know, and is the system itself well? *MLOps*: which model is in force, and why?

Domains do not import one another: an agent that knows two of them translates. What they share lies beside them:
``readings`` (columns of input), ``events`` (the base of what is logged), ``errors`` (the one tree of exceptions) and
``statistics`` (a leaf). Nothing here imports ``streams``, ``adapters`` or ``config``; whatever comes from outside,
the time included, is handed in.
"""
