"""The catalogue of topics."""

from __future__ import annotations

from oddtide.streams.topics import TopicCatalogue

CATALOGUE = TopicCatalogue((("readings", "oddtide.readings", 3), ("pumps", "plant.pumps", 8)), partitions=5)


def test_every_readings_topic_has_a_ledger_aligned_with_it() -> None:
    for _, topic, partitions in CATALOGUE.streams:
        ledger = CATALOGUE.find(CATALOGUE.ledger_of(topic))
        assert ledger is not None
        assert ledger.partitions == partitions
        assert ledger.config["retention.ms"] == "-1"


def test_names_are_unique_and_found() -> None:
    names = [spec.name for spec in CATALOGUE.all()]
    assert len(names) == len(set(names))
    assert all(CATALOGUE.find(name) is not None for name in names)
    assert CATALOGUE.find("oddtide.nonsense") is None


def test_names_carry_the_prefix() -> None:
    catalogue = TopicCatalogue((), prefix="plant7")
    assert {spec.name.split(".")[0] for spec in catalogue.all()} == {"plant7"}
    assert catalogue.name("detections") == "plant7.detections"


def test_alerts_are_aligned_with_detections() -> None:
    partitions = {spec.role: spec.partitions for spec in CATALOGUE.all() if not spec.stream}
    assert partitions["alerts"] == partitions["detections"] == 5
    assert partitions["commands"] == partitions["models"] == partitions["health"] == 1
