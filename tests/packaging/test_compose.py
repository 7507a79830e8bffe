"""docker-compose.yml and what it mounts, checked by structure: no engine runs where these tests do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from oddtide.config.settings import Settings
from tests.packaging.tree import ROOT

CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}
ONE_SHOT = {"topics", "cli"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert isinstance(loaded, dict)
    return loaded


def services(compose: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from compose["services"].items()


def test_the_parts_are_there(compose: dict[str, Any]) -> None:
    assert {"kafka", "postgres", "worker", "prometheus"} <= {n for n, s in services(compose) if not s.get("profiles")}
    assert {profile for _, s in services(compose) for profile in s.get("profiles", [])} == {"grafana", "cli"}


def test_whatever_goes_on_running_says_whether_it_is_well(compose: dict[str, Any]) -> None:
    assert [name for name, service in services(compose) if name not in ONE_SHOT and "healthcheck" not in service] == []


def test_what_is_waited_for_exists_and_can_be_waited_for(compose: dict[str, Any]) -> None:
    every = dict(services(compose))
    for name, service in every.items():
        for other, how in service.get("depends_on", {}).items():
            assert other in every, f"{name} waits for {other}"
            assert how["condition"] in CONDITIONS
            assert how["condition"] != "service_healthy" or "healthcheck" in every[other]


def test_volumes_are_declared_and_mounted_files_exist(compose: dict[str, Any]) -> None:
    used = set()
    for _, service in services(compose):
        for mount in service.get("volumes", []):
            source = mount.partition(":")[0]
            if source.startswith("."):
                assert (ROOT / source).is_file(), source
            else:
                used.add(source)

    assert used == set(compose["volumes"])


def test_nothing_is_published_beyond_this_machine(compose: dict[str, Any]) -> None:
    published = [port for _, service in services(compose) for port in service.get("ports", [])]

    assert published
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []


def test_every_image_is_pinned_to_a_version(compose: dict[str, Any]) -> None:
    images = {service["image"] for _, service in services(compose) if "build" not in service}

    assert [image for image in images if not re.fullmatch(r"[\w./-]+:v?\d[\w.-]*", image)] == []


@pytest.mark.parametrize("name", ["docker-compose.yml", "Dockerfile"])
def test_every_setting_it_sets_exists(name: str) -> None:
    variables = set(re.findall(r"ODDTIDE_[A-Z_]+", (ROOT / name).read_text()))
    unknown = [variable for variable in variables if not setting_exists(variable)]

    assert variables
    assert unknown == []


def test_prometheus_asks_the_workers_on_their_port(compose: dict[str, Any]) -> None:
    scrape = yaml.safe_load((ROOT / "deploy" / "prometheus.yml").read_text())
    (discovery,) = scrape["scrape_configs"][0]["dns_sd_configs"]

    assert set(discovery["names"]) <= set(compose["services"])
    assert discovery["port"] == Settings().worker.metrics_port


def test_the_workers_health_is_what_the_operations_page_says_it_serves(compose: dict[str, Any]) -> None:
    (path,) = re.findall(r"127\.0\.0\.1:9464(/\w+)", compose["services"]["worker"]["healthcheck"]["test"][-1])

    assert f"`{path}`" in (ROOT / "docs" / "operations.md").read_text()


def test_the_image_takes_only_what_exists_and_runs_as_no_root() -> None:
    text = (ROOT / "Dockerfile").read_text()
    copied = [word for line in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE) for word in line.split()]

    assert copied
    assert [path for path in copied if not (ROOT / path).exists()] == []
    assert re.search(r"^USER (?!0|root)", text, re.MULTILINE)
    assert allowed_into_the_context() >= {Path(path) for path in copied}


def allowed_into_the_context() -> set[Path]:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    return {Path(line[1:].rstrip("/")) for line in lines if line.startswith("!")}


def setting_exists(variable: str) -> bool:
    value: Any = Settings()
    for key in variable.removeprefix("ODDTIDE_").lower().split("__"):
        if not hasattr(value, key):
            return False
        value = getattr(value, key)
    return True
