from __future__ import annotations

from pathlib import Path

import pytest

from oddtide.config.settings import Settings, load
from oddtide.domain.detection.alarms import AlarmRules
from oddtide.domain.errors import ConfigurationError, MissingExtraError


@pytest.fixture(autouse=True)
def no_settings_around(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os

    for name in list(os.environ):
        if name.startswith("ODDTIDE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def write(folder: Path, text: str, name: str = "oddtide.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def refusal(path: Path | None = None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(path)
    assert caught.value.exit_code == 4
    return str(caught.value)


def test_without_a_file_everything_has_a_default(tmp_path: Path) -> None:
    loaded = load()
    settings = loaded.settings
    assert loaded.file is None
    assert loaded.origins == {}
    assert [stream.topic_for(settings.prefix) for stream in settings.streams] == ["oddtide.readings"]
    assert settings.data_folder == tmp_path / ".oddtide"
    assert settings.storage_url == f"sqlite:///{tmp_path}/.oddtide/oddtide.db"
    assert settings.artifact_folder == tmp_path / ".oddtide" / "artifacts"
    assert settings.embedded_kafka
    assert settings.bootstrap == "127.0.0.1:29092"


def test_the_environment_wins_over_the_file_and_both_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path, '[worker]\nmax_batch = 7\nheartbeat_s = 2.5\n[kafka]\nbootstrap = "k:1"\n')
    monkeypatch.setenv("ODDTIDE_WORKER__MAX_BATCH", "9")
    loaded = load()
    assert loaded.settings.worker.max_batch == 9
    assert loaded.settings.worker.heartbeat_s == 2.5
    assert loaded.settings.bootstrap == "k:1"
    assert loaded.origins["worker.max_batch"] == "environment"
    assert loaded.origins["worker.heartbeat_s"] == str(file)


def test_the_file_is_found_by_argument_then_by_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, 'prefix = "here"')
    one = write(tmp_path, 'prefix = "one"', "one.toml")
    two = write(tmp_path, 'prefix = "two"', "two.toml")
    assert load().settings.prefix == "here"
    monkeypatch.setenv("ODDTIDE_CONFIG", str(one))
    assert load().settings.prefix == "one"
    assert load(two).settings.prefix == "two"
    monkeypatch.setenv("ODDTIDE_CONFIG", "gone.toml")
    assert "no settings file 'gone.toml'" in refusal()


def test_the_data_folder_is_relative_to_the_file_or_to_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "etc").mkdir()
    file = write(tmp_path / "etc", 'data_folder = "data"')
    assert load(file).settings.data_folder == tmp_path / "etc" / "data"
    monkeypatch.setenv("ODDTIDE_DATA_FOLDER", "elsewhere")
    assert load(file).settings.data_folder == tmp_path / "elsewhere"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[kafka]\nbootstrp = 'x'", ("'kafka.bootstrp'", "oddtide.toml", "did you mean 'bootstrap'")),
        ("[kafak]\nbootstrap = 'x'", ("'kafak'", "did you mean 'kafka'")),
        ("[[streams]]\n[streams.contract]\nmax_ahed_s = 1", ("streams.0.contract.max_ahed_s", "'max_ahead_s'")),
        ("[[streams]]\nfeatures = [{name='a', minimun=1}]", ("features.0.minimun", "'minimum'")),
        ("[worker]\nzzzzqqq = 1", ("unknown key 'worker.zzzzqqq'",)),
        ("[kafka]\nreplication = 0", ("kafka.replication", "is 0", "greater than or equal to 1")),
        ("[kafka]\nsecurity_protocol = 'TLS'", ("'TLS'", "'PLAINTEXT', 'SSL'")),
        ("composition = 'big'", ("composition", "'big'", "'basic', 'enterprise' or 'custom'")),
        ("composition = 3", ("composition", "is 3")),
        ("streams = []", ("streams",)),
        ("[[streams]]\nfeatures = ['a', 'a']", ("'a' is there twice as feature",)),
        ("[[streams]]\ndetectors = ['ewma', 'ewma']", ("twice as detector", "label")),
        ("[[streams]]\nfeatures = [{name='a', minimum=2.0, maximum=1.0}]", ("minimum 2.0 is above maximum 1.0",)),
        ("[[streams]]\nprofile = 'light'\ndetectors = ['river:LODA']", ("'light'", 'profile = "deep"')),
        ("[[streams]]\n[[streams]]", ("stream 'readings' is declared twice",)),
        ("[[streams]]\nname='a'\ntopic='t'\n[[streams]]\nname='b'\ntopic='t'", ("topic 't' is declared twice",)),
        ("[[streams]]\nname='a b'", ("streams.0.name", "'a b'")),
        ("[[notifications]]\nname='x'", ("'notifications.0.url' is missing",)),
        ("[storage]\nurl = 3", ("storage.url", "not as it must be")),
        ("[storage\n", ("not valid TOML", "oddtide.toml")),
    ],
)
def test_what_is_wrong_is_said_with_key_value_place_and_what_is_allowed(
    tmp_path: Path, text: str, parts: tuple[str, ...]
) -> None:
    write(tmp_path, text)
    message = refusal()
    for part in parts:
        assert part in message


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    write(tmp_path, "[kafka]\nreplication = 0\n[worker]\nmax_batch = 0\n")
    message = refusal()
    assert "kafka.replication" in message
    assert "worker.max_batch" in message


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "oddtide.toml").write_bytes(b"prefix = '\xff'")
    assert "not valid TOML" in refusal()


@pytest.mark.parametrize(
    ("name", "value", "parts"),
    [
        ("ODDTIDE_KAFAK__BOOTSTRAP", "x", ("ODDTIDE_KAFAK__BOOTSTRAP", "ODDTIDE_KAFKA__BOOTSTRAP?")),
        ("ODDTIDE_QQQQQQQQQ", "x", ("ODDTIDE_QQQQQQQQQ", "Unset it")),
        ("ODDTIDE_KAFKA__BOOTSTRP", "x", ("$ODDTIDE_KAFKA__BOOTSTRP", "'bootstrap'")),
        ("ODDTIDE_WORKER__MAX_BATCH", "many", ("$ODDTIDE_WORKER__MAX_BATCH", "'many'")),
        ("ODDTIDE_STREAMS", "[{", ("environment cannot be read", "JSON")),
    ],
)
def test_wrong_variables(name: str, value: str, parts: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    message = refusal()
    for part in parts:
        assert part in message


def test_a_secret_is_never_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for text in (
        "[kafka]\nsasl_password = 12345\n",
        "storage = 'postgresql://me:12345@db/x'\n",
        "notifications = ['https://hooks.example.org/12345']\n",
    ):
        write(tmp_path, text)
        assert "12345" not in refusal()


def test_streams_can_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODDTIDE_STREAMS", '[{"name": "pumps", "features": ["flow", "pressure"]}]')
    (stream,) = load().settings.streams
    assert stream.plan("p").topic == "p.pumps"
    assert stream.plan("p").contract.names == ("flow", "pressure")


def test_a_stream_becomes_a_plan(tmp_path: Path) -> None:
    write(
        tmp_path,
        """
        [[streams]]
        name = "pumps"
        topic = "plant.pumps"
        features = ["flow", {name = "pressure", required = false, minimum = 0.0, on_range = "report"}]
        detectors = ["ewma", {kind = "half_space_trees", parameters = {trees = 20}, label = "trees"}]
        publish = "all"
        threshold = {p_value = 1e-4, score = 9.0}
        contract = {order = "skip", max_ahead_s = 5}
        drift = {delta = 0.01, adaptation = "reset"}
        """,
    )
    plan = load().settings.streams[0].plan("oddtide")
    assert (plan.name, plan.topic, plan.publish, plan.profile) == ("pumps", "plant.pumps", "all", "deep")
    assert plan.contract.features[1].minimum == 0.0
    assert not plan.contract.features[1].required
    assert (plan.contract.order, plan.contract.max_ahead_s) == ("skip", 5.0)
    assert [spec.name for spec in plan.detectors] == ["ewma", "trees"]
    assert plan.detectors[1].parameters == {"trees": 20}
    assert (plan.threshold.p_value, plan.threshold.score) == (1e-4, 9.0)
    assert (plan.drift.delta, plan.drift.adaptation) == (0.01, "reset")


def test_the_profile_follows_the_detectors_where_it_is_not_set() -> None:
    assert load().settings.streams[0].plan("p").profile == "light"


def test_the_default_plan_is_that_of_the_settings() -> None:
    from oddtide.streams.pipeline.plan import StreamPlan

    plan = load().settings.streams[0].plan("oddtide")
    assert plan == StreamPlan("readings", "oddtide.readings")


ENTERPRISE = """
composition = "enterprise"
[kafka]
bootstrap = "k1:9093,k2:9093"
sasl_username = "oddtide"
[storage]
url = "postgresql+psycopg://u:p@db/oddtide"
[artifacts]
key = "secret"
"""


def test_enterprise_has_its_own_defaults(tmp_path: Path) -> None:
    write(tmp_path, ENTERPRISE)
    loaded = load()
    assert loaded.settings.kafka.security_protocol == "SASL_SSL"
    assert loaded.settings.kafka.replication == 3
    assert loaded.settings.log.format == "json"
    assert loaded.origins["kafka.replication"] == "enterprise"


@pytest.mark.parametrize(
    ("found", "instead", "part"),
    [
        ('bootstrap = "k1:9093,k2:9093"', "", "kafka.bootstrap is 'embedded'"),
        ('sasl_username = "oddtide"', "", "kafka.sasl_username is empty"),
        ('sasl_username = "oddtide"', 'security_protocol = "PLAINTEXT"', "kafka.security_protocol is 'PLAINTEXT'"),
        ("postgresql+psycopg://u:p@db/oddtide", "sqlite:///x.db", "storage.url is not PostgreSQL"),
        ('key = "secret"', "", "artifacts.key is empty"),
    ],
)
def test_enterprise_takes_nothing_less(tmp_path: Path, found: str, instead: str, part: str) -> None:
    write(tmp_path, ENTERPRISE.replace(found, instead))
    assert part in refusal()


def test_custom_takes_everything(tmp_path: Path) -> None:
    write(tmp_path, 'composition = "custom"\n[kafka]\nbootstrap = "k:9092"\n')
    assert load().settings.bootstrap == "k:9092"


def test_settings_made_directly_read_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODDTIDE_PREFIX", "other")
    assert Settings().prefix == "oddtide"


def test_every_setting_says_what_it_means() -> None:
    document = Settings.model_json_schema()
    objects = [document, *document["$defs"].values()]
    unexplained = [
        (each["title"], name)
        for each in objects
        for name, schema in each.get("properties", {}).items()
        if not schema.get("description")
    ]
    assert unexplained == []


def test_missing_extras_count_as_configuration() -> None:
    assert MissingExtraError.exit_code == 4


def test_rules_for_alarms_go_by_p_values(tmp_path: Path) -> None:
    text = '[[streams]]\nname = "a"\n[streams.threshold]\nscore = 4.0\nrefractory = 10\n'
    assert "refractory: rules for alarms go by p-values; leave out the score" in refusal(write(tmp_path, text))
    text = '[[streams]]\nname = "a"\n[streams.threshold]\nmin_duration = 2\n'
    (stream,) = load(write(tmp_path, text)).settings.streams
    assert stream.plan("p").alarms == AlarmRules(min_duration=2)
