"""Whatever is asked of Prometheus is asked for metrics and labels that the running service has."""

import pytest

from tests.deploy.promql import TARGET_LABELS, asked, families, series, substitute
from tests.deploy.rendering import find, manifests
from tests.deploy.test_alerts import ALERTS
from tests.deploy.test_dashboard import PANELS, VARIABLES
from tests.deploy.tools import CHART, PROMTOOL, Manifest, read_yaml, succeed

ADAPTER: list[Manifest] = read_yaml(CHART / "files" / "prometheus-adapter.yaml")["rules"]["custom"]
# Not in the scrape of a service on a CPU.
ELSEWHERE = {
    "up": set[str](),  # Prometheus makes it of every scrape
    "autochrome_device_memory_bytes": {"device"},  # GPUs only
}


def expressions() -> dict[str, str]:
    """Every expression that stands in a file, by where."""
    found = {f"alert {alert['alert']}": alert["expr"] for alert in ALERTS}
    for panel in PANELS:
        for target in panel.get("targets", []):
            found[f"panel {panel['title']} {target['refId']}"] = target["expr"]
    for variable in VARIABLES:
        if variable["type"] == "query":
            query = variable["query"]["query"]
            assert query.startswith("label_values(")
            found[f"variable {variable['name']}"] = query.removeprefix("label_values(").rpartition(",")[0]
    for rule in ADAPTER:
        name = rule["name"]["as"]
        found[f"adapter {name}, discovery"] = rule["seriesQuery"]
        metric = rule["seriesQuery"].partition("{")[0]
        found[f"adapter {name}"] = rule["metricsQuery"].replace("<<.Series>>", metric)
    return {where: substitute(expression) for where, expression in found.items()}


EXPRESSIONS = expressions()


def test_the_scrape_is_well_formed(scrape: str) -> None:
    succeed(PROMTOOL, "check", "metrics", stdin=scrape)


def check(expression: str, scrape: str) -> None:
    """Every metric, and every label it is asked for, is in the scrape or is told above."""
    known = series(scrape) | ELSEWHERE
    result = asked(expression)
    assert result.metrics
    assert result.without_metric == []
    for metric, labels in result.metrics.items():
        assert metric in known
        assert labels - known[metric] - TARGET_LABELS == set()


@pytest.mark.parametrize("where", EXPRESSIONS)
def test_metrics_and_labels_exist(where: str, scrape: str) -> None:
    check(EXPRESSIONS[where], scrape)


def test_metrics_and_labels_of_the_triggers_exist(scrape: str) -> None:
    triggers = find(manifests("keda"), "ScaledObject")["spec"]["triggers"]
    queries = [trigger["metadata"]["query"] for trigger in triggers if trigger["type"] == "prometheus"]
    assert len(queries) == 2
    for query in queries:
        check(query, scrape)


def test_exceptions_are_exceptional(scrape: str) -> None:
    assert ELSEWHERE.keys() & series(scrape).keys() == set()


@pytest.mark.parametrize("where", [where for where in EXPRESSIONS if where.startswith(("alert", "panel"))])
def test_only_this_service_is_asked_about(where: str) -> None:
    # A selector without a job would add up every service that exports process_ metrics.
    assert all("job" in labels for labels in asked(EXPRESSIONS[where]).matched)


def test_every_metric_is_on_the_dashboard_or_in_an_alert(scrape: str) -> None:
    used = {
        metric
        for where, expression in EXPRESSIONS.items()
        if where.startswith(("alert", "panel"))
        for metric in asked(expression).metrics
    }
    declared = dict(families(scrape))
    assert declared
    assert {name for name, samples in declared.items() if not samples & used} == set()


@pytest.mark.parametrize(
    ("expression", "metrics"),
    [
        ('rate(a{x="1"}[5m]) > 2', {"a": {"x"}}),
        ("sum by (y) (a) / on (z) group_left (w) b", {"a": {"y", "z"}, "b": {"z", "w"}}),
        ("topk(3, max without (v) (max_over_time(a[1h:1m])))", {"a": {"v"}}),
        ('-(a) or absent(b{x=~".+"})', {"a": set(), "b": {"x"}}),
    ],
)
def test_expressions_are_taken_apart(expression: str, metrics: dict[str, set[str]]) -> None:
    assert asked(expression).metrics == metrics


def test_broken_expressions_are_refused() -> None:
    with pytest.raises(ValueError, match="parenthesis"):
        asked("sum(a")
