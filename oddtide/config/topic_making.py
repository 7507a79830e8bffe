"""Making the topics that the settings declare."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oddtide.adapters.kafka.admin import KafkaAdmin
    from oddtide.config.composition import Composition

__all__ = ["make_topics"]


def make_topics(composition: Composition, admin: KafkaAdmin) -> list[str]:
    """Make every topic that is missing, and change none; returns the names of those made.

    Where a readings topic is there with other partitions than declared, its ledger is left out: made now it would have
    the declared partitions for good, and correcting the declaration would not help any more.
    """
    catalogue = composition.catalogue()
    specs = catalogue.all()
    different = {each.topic for each in admin.mismatches(specs) if each.kind == "partitions"}
    left_out = {catalogue.ledger_of(topic) for topic in different}
    wanted = [spec for spec in specs if spec.name not in left_out]
    return admin.ensure(wanted, replication=composition.settings.kafka.replication)
