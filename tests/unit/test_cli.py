from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
import rich_click as click
from click.testing import CliRunner, Result

from oddtide.config.cli import COMMANDS, cli
from oddtide.config.cli.errors import report
from oddtide.domain import errors

#: Their tests are elsewhere.
ELSEWHERE = {"demo", "detect"}
MINE = [name for name in COMMANDS if name not in ELSEWHERE]


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("ODDTIDE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def run(*arguments: str, **kwargs: Any) -> Result:
    return CliRunner().invoke(cli, list(arguments), prog_name="oddtide", **kwargs)


def every_command() -> list[list[str]]:
    found = []
    for name in MINE:
        command = cli.load(name)
        found.append([name])
        if isinstance(command, click.Group):
            found += [[name, child] for child in command.commands]
    return found


def test_the_overview_shows_every_command_and_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom oddtide.config.cli import cli\n"
        "try:\n    cli.main(['--help'], prog_name='oddtide')\nexcept SystemExit as end:\n    assert not end.code\n"
        "print(*sorted(sys.modules), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for name in COMMANDS:
        assert f" {name} " in done.stdout
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    heavy = {
        "aiokafka", "alembic", "faust", "httpx", "kafka", "mode", "msgspec", "numba", "numpy", "orjson", "pandas",
        "pyarrow", "pydantic", "pydantic_settings", "pyod", "river", "scipy", "sklearn", "sqlalchemy", "structlog",
    }  # fmt: skip
    assert loaded & heavy == set()


@pytest.mark.parametrize("path", every_command(), ids=" ".join)
def test_every_command_has_help_with_examples(path: list[str]) -> None:
    result = run(*path, "--help")
    assert result.exit_code == 0, result.stderr
    assert f"oddtide {path[0]}" in result.stdout
    assert "Examples" in result.stdout


@pytest.mark.parametrize("path", every_command(), ids=" ".join)
def test_examples_are_whole_in_a_narrow_terminal(path: list[str]) -> None:
    shown = run(*path, "--help", env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"}).stdout.partition("Examples")[2]
    command: Any = cli.load(path[0])
    for name in path[1:]:
        command = command.commands[name]
    for line, meaning in command.examples:
        assert line in shown
        assert meaning in shown


def test_examples_name_options_that_exist() -> None:
    for path in every_command():
        command: Any = cli.load(path[0])
        if len(path) == 2:
            command = command.commands[path[1]]
        elif isinstance(command, click.Group):
            continue
        known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        for line, _ in command.examples:
            own = line.partition(f"oddtide {' '.join(path)}")[2].partition("|")[0]
            used = {word.partition("=")[0] for word in own.split() if word.startswith("--")}
            assert used <= known | {"--help"}, line


def test_an_unknown_command_is_a_usage_error_on_stderr() -> None:
    result = run("stats")
    assert result.exit_code == 2
    assert "stats" in result.stderr
    assert result.stdout == ""


def test_the_module_runs_too() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "oddtide", "completion", "fish"], capture_output=True, text=True, check=True
    )
    assert "_ODDTIDE_COMPLETE" in done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    result = run("completion", shell)
    assert result.exit_code == 0
    assert "_ODDTIDE_COMPLETE" in result.stdout


# ----------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("error", "code", "part"),
    [
        (errors.OddtideError("Broken.", remedy="Mend it."), 1, "oddtide: Broken. Mend it."),
        (errors.UsageError("a\nb"), 2, "oddtide: a b"),
        (errors.NotFoundError("gone"), 3, "gone"),
        (errors.ConfigurationError("wrong"), 4, "wrong"),
        (errors.BrokerUnreachableError("silent"), 5, "silent"),
        (errors.CheckFailedError("different"), 6, "different"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (click.Abort(), 130, "interrupted"),
        (OSError(errno.ENOSPC, "No space left on device", "/data/x"), 5, "disk is full: /data/x"),
        (OSError(errno.EADDRINUSE, "Address already in use"), 5, "port is in use"),
        (PermissionError(errno.EACCES, "Permission denied", "/srv/x"), 5, "No permission: /srv/x"),
        (FileNotFoundError(errno.ENOENT, "No such file", "x.csv"), 3, "No such file: x.csv"),
        (OSError(errno.EIO, "Input/output error"), 1, "Input/output error"),
        (ZeroDivisionError("division by zero"), 1, "unexpected ZeroDivisionError"),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(
    error: BaseException, code: int, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(error, verbose=False) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert part in captured.err
    assert len(captured.err.splitlines()) == 1


def test_verbose_shows_the_traceback(tmp_path: Path) -> None:
    (tmp_path / "oddtide.toml").write_text("prefx = 'x'")
    quiet, loud = run("config", "show"), run("--verbose", "config", "show")
    assert quiet.exit_code == loud.exit_code == 4
    assert "Traceback" not in quiet.stderr
    assert len(quiet.stderr.splitlines()) == 1
    assert "Traceback" in loud.stderr
    assert "Traceback" in run("config", "show", "--verbose").stderr


def test_a_reader_that_went_away_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -m oddtide schemas list --output jsonl | head -n 1",
        shell=True, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


# ------------------------------------------------------------------------------------------- without a Kafka


@pytest.mark.parametrize(
    "arguments",
    [
        ["topics", "list"],
        ["topics", "create"],
        ["topics", "describe", "detections"],
        ["lag"],
        ["status"],
        ["worker"],
        ["tail", "detections", "-e"],
        ["deadletters", "list"],
        ["deadletters", "retry", "0:1"],
        ["models", "promote", "m", "1"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("bootstrap", ["embedded", "127.0.0.1:1"])
def test_no_kafka_is_one_line_with_a_remedy(
    arguments: list[str], bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ODDTIDE_KAFKA__BOOTSTRAP", bootstrap)
    monkeypatch.setattr("oddtide.adapters.kafka.connection._GIVE_UP_MS", 300)
    result = run(*arguments)
    assert result.exit_code == 5, result.stderr
    assert "oddtide up" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (["tail"], 2, "TOPIC"),
        (["tail", "x", "-o", "middle"], 2, "middle"),
        (["tail", "x", "--filter", "nonsense"], 2, "no filter"),
        (["tail", "x", "--filter", "a~("], 2, "regular expression"),
        (["worker", "--roles", "ingest,cook"], 2, "cook"),
        (["worker", "--roles", ","], 2, "Roles are"),
        (["worker", "--instances", "0"], 2, "instances"),
        (["produce", "gone.csv"], 3, "gone.csv"),
        (["produce", "-", "--stream", "other"], 3, "'other'"),
        (["schemas", "show", "Nothing"], 3, "Nothing"),
        (["deadletters", "retry"], 2, "--all"),
        (["deadletters", "show", "twelve"], 2, "PARTITION:OFFSET"),
        (["models", "train"], 3, "No stream declares"),
        (["completion", "tcsh"], 2, "tcsh"),
        (["topics", "list", "--output", "xml"], 2, "xml"),
        (["--config", "gone.toml", "config", "show"], 4, "gone.toml"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_input(arguments: list[str], code: int, part: str) -> None:
    result = run(*arguments, input="")
    assert result.exit_code == code, result.stderr
    assert part in result.stderr
    assert "Traceback" not in result.stderr


# ---------------------------------------------------------------------------------------------------- config


def test_config_show_marks_origins_and_hides_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "oddtide.toml").write_text(
        "[kafka]\nsasl_password = 'hunter2'\n[[notifications]]\nurl = 'https://u:hunter2@example.org/hunter2?token=hunter2'\n"
        "headers = {Authorization = 'hunter2'}\n"
    )
    monkeypatch.setenv("ODDTIDE_STORAGE__URL", "postgresql+psycopg://me:hunter2@db/x")
    result = run("config", "show", "--output", "json")
    rows = {row["key"]: row for row in json.loads(result.stdout)}
    assert "hunter2" not in result.stdout
    assert rows["storage.url"] == {
        "key": "storage.url", "value": "postgresql+psycopg://**********@db/x", "from": "environment"
    }  # fmt: skip
    assert rows["notifications.0.url"]["value"] == "https://example.org/**********"
    assert rows["kafka.sasl_password"]["from"].endswith("oddtide.toml")
    assert rows["prefix"]["from"] == "default"
    changed = json.loads(run("config", "show", "--changed", "--output", "json").stdout)
    assert {row["from"] for row in changed} <= {"environment", str(tmp_path / "oddtide.toml")}


def test_config_validate_builds_every_detector(tmp_path: Path) -> None:
    assert json.loads(run("config", "validate", "--output", "json").stdout)["valid"] is True
    (tmp_path / "oddtide.toml").write_text("[[streams]]\ndetectors = ['ewmaa']\nprofile = 'deep'\n")
    result = run("config", "validate")
    assert result.exit_code == 4
    assert "ewma" in result.stderr


def test_config_schema_is_a_json_schema() -> None:
    document = json.loads(run("config", "schema").stdout)
    assert document["$schema"].endswith("2020-12/schema")
    assert document["additionalProperties"] is False


# --------------------------------------------------------------------------------------------------- schemas


def test_schemas_list_show_export(tmp_path: Path) -> None:
    listed = [json.loads(line) for line in run("schemas", "list", "--output", "jsonl").stdout.splitlines()]
    names = {row["type"] for row in listed}
    assert {"Reading", "oddtide.AnomalyDetected", "oddtide.BatchCompleted", "oddtide.TrainModel"} <= names
    assert json.loads(run("schemas", "show", "anomalydetected").stdout)["title"] == "AnomalyDetected"
    assert json.loads(run("schemas", "show", "reading").stdout)["title"] == "Reading"
    assert json.loads(run("schemas", "show", "asyncapi").stdout)["asyncapi"] == "3.0.0"
    result = run("schemas", "export", "out")
    assert sorted(Path(line).name for line in result.stdout.splitlines()) == sorted(
        path.name for path in (tmp_path / "out").iterdir()
    )
    written = [path.name for path in (tmp_path / "out").iterdir()]
    assert sorted(Path(line).name for line in result.stdout.splitlines()) == sorted(written)


def test_topics_list_needs_no_kafka_for_the_declaration() -> None:
    result = run("topics", "list", "--declared", "--output", "json")
    rows = {row["topic"]: row for row in json.loads(result.stdout)}
    assert rows["oddtide.readings.ledger"]["partitions"] == 4
    assert rows["oddtide.detections"]["carries"] == ["AnomalyDetected", "AbsenceDetected", "SeriesReturned"]


def test_up_says_how_to_publish_while_its_kafka_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    from oddtide.config.cli import up

    def differ(composition: Any) -> None:
        raise errors.ConfigurationError("The settings differ.", remedy="Publish them.")

    monkeypatch.setattr(up, "check_published", differ)
    with pytest.raises(errors.ConfigurationError, match=r"The settings differ\. `oddtide up --publish` puts"):
        up._check_published(cast(Any, None))
