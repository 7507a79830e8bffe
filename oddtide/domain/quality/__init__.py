"""Data quality: what a stream promises, and what becomes of readings that break the promise.

A *contract* (:class:`Contract`) declares a stream's features, their ranges, how far a reading's time may lie from the
moment it was logged, and what late and repeated readings get. It is checked in two places. *Decoding*
(``oddtide.streams.codecs``) asks whether the bytes are a reading at all: a series, a time, finite numbers, no
undeclared fields. *Validation* (:class:`Validator`) asks whether the reading keeps the contract, given the series'
readings before it.

Every reading has exactly one outcome. It is **kept** and scored; or **rejected**, with its bytes kept among the dead
letters; or **skipped**, which the ledger counts. The reasons are one enumeration, :class:`Reason`. A rule may also
merely
*report*: the reading is scored, and a *violation* (:class:`ContractViolated`) says what was broken.

Three choices worth knowing:

* **Time is judged against the record's timestamp**, which the log keeps, never against a clock. So a replay next year
  judges as today.
* **Only readings that are kept move a series' newest time.** One absurd time, refused, does not make all that follow
late.
* **NaN is no number.** A missing feature is an absent or null one; a NaN or infinity that was sent is refused, because
  nobody can say what the sender meant by it.

Rules are evaluated in this order: time too old or too new; late or duplicate; ranges. The first that refuses or
skips decides.
"""

from __future__ import annotations

from oddtide.domain.quality.contract import Action, Contract, FeatureRule, OrderPolicy
from oddtide.domain.quality.events import ContractViolated, ReadingRejected, RejectedRow
from oddtide.domain.quality.reasons import Reason
from oddtide.domain.quality.validation import Checked, Validator

__all__ = [
    "Action",
    "Checked",
    "Contract",
    "ContractViolated",
    "FeatureRule",
    "OrderPolicy",
    "ReadingRejected",
    "Reason",
    "RejectedRow",
    "Validator",
]
