"""The alerts and their tests, read as Prometheus reads them; each alert fires in a test and has its page."""

import re
from pathlib import Path

import pytest

from tests.deploy.rendering import find, manifests
from tests.deploy.tools import CHART, PROMTOOL, ROOT, Manifest, read_yaml, run, succeed

FOLDER = CHART / "observability"
RULES = read_yaml(FOLDER / "alerts.yml")
TESTS = read_yaml(FOLDER / "alerts.test.yml")
ALERTS: list[Manifest] = [rule for group in RULES["groups"] for rule in group["rules"]]
NAMES = [alert["alert"] for alert in ALERTS]
OPERATIONS = ROOT / "docs" / "operations.md"


def test_the_rules_are_rules() -> None:
    succeed(PROMTOOL, "check", "rules", "--lint-fatal", FOLDER / "alerts.yml")


def test_the_rules_do_what_they_should() -> None:
    succeed(PROMTOOL, "test", "rules", FOLDER / "alerts.test.yml")


def test_a_wrong_threshold_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "alerts.test.yml").write_text((FOLDER / "alerts.test.yml").read_text())
    text = (FOLDER / "alerts.yml").read_text()
    assert "> 0.05" in text
    (tmp_path / "alerts.yml").write_text(text.replace("> 0.05", "> 0.5"))
    assert run(PROMTOOL, "test", "rules", tmp_path / "alerts.test.yml").returncode != 0


def test_composes_prometheus_accepts_its_configuration() -> None:
    said = succeed(PROMTOOL, "check", "config", ROOT / "compose" / "prometheus.yml")
    assert "1 rule files found" in said


def test_names_are_unique() -> None:
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_alert_fires_in_a_test(name: str) -> None:
    samples = [
        sample["labels"]
        for test in TESTS["tests"]
        for expectation in test.get("promql_expr_test", [])
        for sample in expectation["exp_samples"]
    ]
    firing = [labels for labels in samples if f'alertname="{name}"' in labels and 'alertstate="firing"' in labels]
    firing += [
        str(expectation["exp_alerts"])
        for test in TESTS["tests"]
        for expectation in test.get("alert_rule_test", [])
        if expectation["alertname"] == name and expectation.get("exp_alerts")
    ]
    assert firing


@pytest.mark.parametrize("alert", ALERTS, ids=NAMES)
def test_every_alert_says_what_to_do(alert: Manifest) -> None:
    assert alert["labels"]["severity"] in ("page", "ticket")
    assert alert["annotations"].keys() == {"summary", "description", "runbook"}
    assert alert["annotations"]["runbook"] == f"docs/operations.md#{alert['alert'].lower()}"
    assert re.search(rf"^### {alert['alert']}$", OPERATIONS.read_text(), re.MULTILINE)


def test_operations_knows_no_other_alerts() -> None:
    assert set(re.findall(r"^### (Autochrome\w+)$", OPERATIONS.read_text(), re.MULTILINE)) == set(NAMES)


@pytest.mark.parametrize("name", ["hpa", "keda"])
def test_the_chart_brings_these_rules(name: str) -> None:
    assert find(manifests(name), "PrometheusRule")["spec"] == RULES
