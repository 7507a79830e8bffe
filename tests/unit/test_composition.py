from __future__ import annotations

import os
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from oddtide.adapters.notifications import WebhookNotifier
from oddtide.config.composition import Composition
from oddtide.config.sections import SnapshotSettings
from oddtide.config.settings import Settings
from oddtide.domain.detection.ports import DetectorSpec
from oddtide.domain.drift.policy import DriftPolicy
from oddtide.domain.errors import BrokerUnreachableError, ConfigurationError, DependencyError, StorageUnavailableError
from oddtide.domain.observability.policy import ALERT_KINDS


def composition(folder: Path, **settings: Any) -> Composition:
    return Composition(Settings(data_folder=folder / "data", **settings))


def test_the_embedded_kafka_must_run(tmp_path: Path) -> None:
    with pytest.raises(BrokerUnreachableError, match="oddtide up"):
        composition(tmp_path).connection()


def test_security_reaches_both_kinds_of_clients(tmp_path: Path) -> None:
    kafka = {
        "bootstrap": "k:9093", "security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-256",
        "sasl_username": "me", "sasl_password": "secret", "ssl_cafile": "ca.pem",
    }  # fmt: skip
    made = composition(tmp_path, kafka=kafka)
    connection, access = made.connection(), made.broker_access()
    assert (connection.bootstrap, connection.sasl_username, connection.ssl_cafile) == ("k:9093", "me", "ca.pem")
    assert connection.sasl_password == "secret"
    assert access.security["sasl_mechanism"] == "SCRAM-SHA-256"
    assert access.security["ssl_cafile"] == "ca.pem"
    plain = composition(tmp_path, kafka={"bootstrap": "k:9092"}).connection()
    assert (plain.security_protocol, plain.sasl_mechanism, plain.ssl_cafile) == ("PLAINTEXT", None, None)


def test_the_catalogue_follows_the_settings(tmp_path: Path) -> None:
    made = composition(
        tmp_path, prefix="p", streams=[{"name": "a"}, {"name": "b", "topic": "plant.b", "partitions": 9}],
        kafka={"result_partitions": 2, "retention_days": 3},
    )  # fmt: skip
    specs = {spec.name: spec for spec in made.catalogue().all()}
    assert specs["plant.b.ledger"].partitions == 9
    assert specs["p.detections"].partitions == 2
    assert specs["p.detections"].config["retention.ms"] == str(3 * 86_400_000)
    assert [plan.topic for plan in made.plans()] == ["p.a", "plant.b"]


@pytest.mark.parametrize("kind", ["discord", "ewma", "half_space_trees", "river:HalfSpaceTrees", "pyod:IForest"])
def test_the_toolkit_builds_detectors_of_every_family(tmp_path: Path, kind: str) -> None:
    assert composition(tmp_path).toolkit().detector(DetectorSpec(kind), ("value",)).version


def test_the_toolkit_makes_monitors(tmp_path: Path) -> None:
    monitor = composition(tmp_path).toolkit().monitors(DriftPolicy())()
    monitor.update(1.0)
    assert not monitor.drift_detected


def test_an_unknown_detector_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        composition(tmp_path).toolkit().detector(DetectorSpec("ewmaa"), ("value",))


def test_artifacts_are_signed_with_the_configured_key_or_one_of_our_own(tmp_path: Path) -> None:
    made = composition(tmp_path)
    reference, digest = made.artifacts().put("m", b"content")
    assert made.artifacts().get(reference, digest) == b"content"
    assert (tmp_path / "data" / "artifacts.key").exists()
    other = composition(tmp_path / "other", artifacts={"folder": tmp_path / "shared", "key": "secret"})
    other.artifacts().put("m", b"content")
    assert (tmp_path / "shared").is_dir()
    assert not (tmp_path / "other" / "data" / "artifacts.key").exists()


def test_alert_policies_may_differ_by_stream(tmp_path: Path) -> None:
    policy = composition(
        tmp_path, alerts={"quiet_s": 60.0}, streams=[{"name": "a", "alerts": {"kinds": ["anomaly"], "quiet_s": 5.0}}]
    ).alert_policy()
    assert policy.quiet_s == policy.of("other").quiet_s == 60.0
    assert policy.of("a").quiet_s == 5.0
    assert policy.of("a").kinds == frozenset({"anomaly"})


def test_every_kind_opens_alerts_unless_the_settings_say_otherwise(tmp_path: Path) -> None:
    assert composition(tmp_path).alert_policy().kinds == frozenset(ALERT_KINDS)


def test_channels_are_the_declared_webhooks(tmp_path: Path) -> None:
    hook = {"name": "ops", "url": "https://example.org/h", "minimum_severity": "critical", "headers": {"A": "b"}}
    made = composition(tmp_path, notifications=[hook])
    channels = made.channels()
    assert channels["ops"].wants("critical")
    assert not channels["ops"].wants("warning")
    notifier = channels["ops"].notifier
    assert isinstance(notifier, WebhookNotifier)
    made.close()
    assert notifier._client.is_closed


def test_one_process_projects_at_a_time(tmp_path: Path) -> None:
    first, second = composition(tmp_path), composition(tmp_path)
    assert first.projector("one") is not None
    assert second.projector("two") is None
    second.close()
    first.close()
    assert second.projector("two") is not None
    second.close()


def test_a_data_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("in the way")
    with pytest.raises(StorageUnavailableError, match="data_folder"):
        _ = composition(tmp_path).folder


KAFKA = {"bootstrap": "127.0.0.1:1"}


def test_a_worker_serves_its_metrics_until_the_end(tmp_path: Path) -> None:
    made = composition(tmp_path, kafka=KAFKA, worker={"metrics_port": 0}, application="app")
    context = made.worker_context(["ingest"])
    assert context.application == "app"
    assert context.pid == os.getpid()
    with urllib.request.urlopen(context.metrics_url, timeout=10) as answer:
        assert b"oddtide_worker_info" in answer.read()
    made.close()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(context.metrics_url, timeout=10)


def test_a_taken_metrics_port_is_an_error_only_where_it_was_asked_for(tmp_path: Path) -> None:
    first = composition(tmp_path, kafka=KAFKA, worker={"metrics_port": 0})
    port = int(first.worker_context(["ingest"]).metrics_url.rpartition(":")[2].partition("/")[0])
    second = composition(tmp_path, kafka=KAFKA, worker={"metrics_port": port})
    with pytest.raises(DependencyError, match="in use"):
        second.worker_context(["ingest"])
    default = composition(tmp_path, kafka=KAFKA)
    assert default.worker_context(["ingest"]).metrics_url
    again = composition(tmp_path, kafka=KAFKA)
    assert again.worker_context(["ingest"]).metrics_url
    for each in (first, second, default, again):
        each.close()


def test_metrics_can_be_off(tmp_path: Path) -> None:
    made = composition(tmp_path, kafka=KAFKA, worker={"metrics": False})
    assert made.worker_context(["ingest"]).metrics_url == ""


def test_only_roles_that_project_get_read_models(tmp_path: Path) -> None:
    made = composition(tmp_path, kafka=KAFKA)
    assert made.worker_parts(["ingest"]).read_models is None
    parts = made.worker_parts(["ingest", "health"])
    assert parts.read_models is not None
    assert parts.outbox is not None
    assert parts.take_over is None
    second = composition(tmp_path, kafka=KAFKA)
    waiting = second.worker_parts(["health"])
    assert waiting.read_models is None
    assert waiting.take_over is not None
    assert waiting.take_over() is None
    made.close()
    taken = waiting.take_over()
    assert taken is not None
    assert taken.read_models is not None
    assert taken.outbox is not None
    second.close()


def test_where_another_process_projects_no_connection_stays_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, second = composition(tmp_path, kafka=KAFKA), composition(tmp_path, kafka=KAFKA)
    models = second.read_models()
    monkeypatch.setattr(second, "read_models", lambda: models)
    assert made.projector("first") is not None
    assert second.projector("second") is None
    assert models._database._engine is None
    made.close()


def test_snapshots_lie_in_the_data_folder_or_where_the_settings_say(tmp_path: Path) -> None:
    here = Composition(Settings(data_folder=tmp_path)).snapshots()
    reference, digest = here.put("a/b", [b"state"])
    assert (tmp_path / "snapshots" / reference).is_file()
    there = Settings(data_folder=tmp_path, snapshots=SnapshotSettings(url=f"file://{tmp_path}/elsewhere"))
    reference, digest = Composition(there).snapshots().put("a/b", [b"state"])
    assert (tmp_path / "elsewhere" / reference).is_file()
    assert Composition(there).snapshots().get(reference, digest) == b"state"


def test_the_options_of_a_store_of_snapshots_stay_secret_until_used() -> None:
    settings = SnapshotSettings.model_validate({"options": {"secret": "s3cret"}})
    assert "s3cret" not in repr(settings)
    assert settings.storage_options() == {"secret": "s3cret"}
    assert (settings.policy().keep, settings.policy().every_s) == (3, 30.0)


def test_series_sleep_in_the_data_folder_unless_memory_has_no_limit(tmp_path: Path) -> None:
    sleeping = composition(tmp_path, worker={"memory_mib": 1.5}).sleeping()
    assert sleeping is not None
    assert sleeping.budget.total == 1.5 * 2**20
    assert not (tmp_path / "sleeping").exists()
    unlimited = composition(tmp_path, worker={"memory_mib": 0}).sleeping()
    assert unlimited is not None
    assert unlimited.budget.total > 2**60


def test_the_memory_budget_needs_rocksdb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rocksdict", None)
    assert composition(tmp_path, worker={"memory_mib": 0}).sleeping() is None
    with pytest.raises(ConfigurationError, match="memory_mib = 0"):
        composition(tmp_path).sleeping()
