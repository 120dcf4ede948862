"""The alert rules ask for metrics that the service has, and tell operators to do what can be done."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from rag_rec.layers.records import ForgetState
from rag_rec.settings import Settings
from serving.auth import Keyring
from serving.logs import open_log
from serving.service import Service
from tests.docker.composition import COMPOSE, DOCKER, SERVICES, answers, check_command
from tests.serving.fake_engine import FakeEngine
from tests.serving.records import record
from tools.docker_secrets import make

FOLDER = DOCKER / "prometheus"
CONFIGURATION: dict[str, Any] = yaml.safe_load((FOLDER / "prometheus.yaml").read_text())
GROUPS: list[dict[str, Any]] = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"]
ALERTS: dict[str, dict[str, Any]] = {rule["alert"]: rule for group in GROUPS for rule in group["rules"]}
SELECTOR = re.compile(r"\b(ragrec_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)(=~|=)"([^"]*)"')
DURATION = re.compile(r"\d+[smhd]")

every_alert = pytest.mark.parametrize("name", ALERTS)


@pytest.fixture(scope="module")
def registry() -> Iterator[CollectorRegistry]:
    """The metrics of a service with a forget request that waits."""
    engine = FakeEngine(records={"r": record("r", ForgetState.EFFECTIVE)})
    settings = Settings(api_keys={SecretStr("the-key-of-the-test"): ["admin"]})
    service = Service(settings, Keyring.from_settings(settings.api_keys), open_log(io.BytesIO()), engine)
    yield service.metrics.registry
    service.close()


def labels_of(registry: CollectorRegistry, metric: str) -> list[dict[str, str]]:
    """The labels of every sample of a metric."""
    samples = (sample for family in registry.collect() for sample in family.samples)
    return [sample.labels for sample in samples if sample.name == metric]


@every_alert
def test_it_asks_for_metrics_that_there_are(registry: CollectorRegistry, name: str) -> None:
    selectors = SELECTOR.findall(ALERTS[name]["expr"])
    assert selectors
    for metric, matchers in selectors:
        samples = labels_of(registry, metric)
        assert samples, f"the service has no metric {metric}"
        for label, _, wanted in MATCHER.findall(matchers):
            assert set(wanted.split("|")) <= {labels[label] for labels in samples}, (metric, label)


@every_alert
def test_it_tells_how_bad_it_is_and_what_to_do(name: str) -> None:
    rule = ALERTS[name]
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert DURATION.fullmatch(rule.get("for", "1m"))
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in ("info", "warning", "critical")
    assert all(rule["annotations"][part].endswith(".") for part in ("summary", "description"))


@every_alert
def test_the_commands_and_calls_that_it_names_exist(app: Any, name: str) -> None:
    text = ALERTS[name]["annotations"]["description"]
    for command in re.findall(r"`rag-rec ([^`]+)`", text):
        check_command(command.split())
    for method, path in re.findall(r"`(GET|POST) (/[^`?]+)", text):
        assert method.lower() in app.openapi()["paths"][path]


def test_the_deadlines_are_watched() -> None:
    severities = {name: rule["labels"]["severity"] for name, rule in ALERTS.items()}
    assert severities["ForgetOverdue"] == severities["ForgetDeadlineNear"] == "critical"
    left, waited = "min(ragrec_forget_deadline_seconds)", "max(ragrec_forget_oldest_pending_seconds)"
    assert ALERTS["ForgetDeadlineNear"]["expr"] == f"{left} < {waited} / 3"  # a quarter of the time, however long it is
    assert ALERTS["ForgetPendingLong"]["expr"] == "max(ragrec_forget_oldest_pending_seconds) > 86400"


def test_a_copy_of_the_ledger_that_is_behind_or_cannot_be_read_is_told() -> None:
    assert ALERTS["LedgerCopyBehind"]["expr"] == "max(abs(ragrec_ledger_copy_lag)) > 0"
    assert ALERTS["LedgerCopyBehind"]["labels"]["severity"] == "critical"


def test_prometheus_reads_the_rules_and_asks_the_service_of_the_compose_file(app: Any) -> None:
    assert [(FOLDER / name).is_file() for name in CONFIGURATION["rule_files"]] == [True]
    (job,) = CONFIGURATION["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    host, _, port = target.partition(":")
    assert SERVICES[host]["ports"][0].endswith(f":{port}")
    assert answers(app, job.get("metrics_path", "/metrics"))


def test_prometheus_has_a_key_that_may_read_metrics_and_nothing_else(tmp_path: Path) -> None:
    service = SERVICES["prometheus"]
    assert service["profiles"] == ["monitoring"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert "generator" not in service.get("networks", [])
    (secret,) = service["secrets"]
    (job,) = CONFIGURATION["scrape_configs"]
    assert Path(job["authorization"]["credentials_file"]) == Path("/run/secrets") / secret
    make(tmp_path)
    lines = (tmp_path / ".env").read_text().splitlines()
    example = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    roles = json.loads((tmp_path / "secrets" / "api" / "api-keys.json").read_text())
    assert roles[example[COMPOSE["secrets"][secret]["environment"]]] == ["metrics"]


def test_prometheus_is_started_with_the_configuration_that_is_mounted() -> None:
    service = SERVICES["prometheus"]
    options = dict(word.removeprefix("--").split("=", 1) for word in service["command"])
    mounts = dict(reversed(volume.removesuffix(":ro").split(":")) for volume in service["volumes"])
    configuration = Path(options["config.file"])
    assert (DOCKER / mounts[str(configuration.parent)] / configuration.name).is_file()
    assert mounts[options["storage.tsdb.path"]] in COMPOSE["volumes"]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_accepts_the_rules() -> None:
    checked = subprocess.run(
        ["promtool", "check", "rules", str(FOLDER / "alerts.yaml")], check=False, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
