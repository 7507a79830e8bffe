"""Going over history again: what was published is computed anew from the log, compared, tried with other settings.

Everything here reads committed records and writes nothing, except :mod:`.migrating`, whose purpose is a new topic.

:mod:`.reading` brings a partition's records and its ledger; :mod:`.folding` folds them as the owners did, every control
at its offset; :mod:`.verifying` compares the running hash at each ledger record and :mod:`.narrowing` finds the first
verdict that differs; :mod:`.auditing` adds the ledger up against the log and the results (:mod:`.published`);
:mod:`.differing` sets two configurations side by side.
"""
