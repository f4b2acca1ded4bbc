"""PromQL taken apart: which metrics an expression asks for, and which of their labels it names."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import promql_parser
from prometheus_client.parser import text_string_to_metric_families

# Given to every series by Prometheus itself: the first two always, the others in Kubernetes.
TARGET_LABELS = {"job", "instance", "namespace", "service", "pod"}


@dataclass
class Asked:
    """Names of metrics, each with the labels that its selectors match, and the labels grouped by around it."""

    metrics: dict[str, set[str]] = field(default_factory=dict)
    matched: list[set[str]] = field(default_factory=list)
    """For every selector, the labels that it matches itself."""
    without_metric: list[str] = field(default_factory=list)


def _children(node: Any) -> list[tuple[Any, set[str]]]:
    """The nodes one level down, each with the labels that this node wants of it."""
    match node:
        case promql_parser.BinaryExpr():
            left, right = set[str](), set[str]()
            if node.modifier is not None:
                shared = set(node.modifier.matching.labels if node.modifier.matching else [])
                brought = set(node.modifier.group_labels or [])
                to_left = node.modifier.card == promql_parser.VectorMatchCardinality.OneToMany
                left, right = shared | (brought if to_left else set()), shared | (set() if to_left else brought)
            return [(node.lhs, left), (node.rhs, right)]
        case promql_parser.AggregateExpr():
            labels = set(node.modifier.labels if node.modifier is not None else [])
            return [(node.expr, labels), *([(node.param, set[str]())] if node.param is not None else [])]
        case promql_parser.Call():
            return [(argument, set()) for argument in node.args]
        case promql_parser.ParenExpr() | promql_parser.UnaryExpr() | promql_parser.SubqueryExpr():
            return [(node.expr, set())]
        case promql_parser.MatrixSelector():
            return [(node.vector_selector, set())]
        case promql_parser.VectorSelector() | promql_parser.NumberLiteral() | promql_parser.StringLiteral():
            return []
    raise TypeError(f"unknown node {node!r}")


def asked(expression: str) -> Asked:
    """What it asks for; ValueError if it is no PromQL."""
    result = Asked()

    def visit(node: Any, grouped: set[str]) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            matchers = [*node.matchers.matchers, *(m for group in node.matchers.or_matchers for m in group)]
            names = {matcher.name for matcher in matchers}
            result.matched.append(names)
            if node.name is None:
                result.without_metric.append(str(node))
            else:
                result.metrics.setdefault(node.name, set()).update(grouped, names)
        for child, wanted in _children(node):
            visit(child, grouped | wanted)

    visit(promql_parser.parse(expression), set())
    return result


def substitute(expression: str) -> str:
    """Grafana's variables and prometheus-adapter's templates replaced by what they may become."""
    for pattern, value in [
        (r"\$__(rate_interval|interval|range)\b", "5m"),
        (r"<<\.LabelMatchers>>", 'namespace="colour",pod=~"a|b"'),
        (r"<<\.GroupBy>>", "pod"),
    ]:
        expression = re.sub(pattern, value, expression)
    return expression


def series(scrape: str) -> dict[str, set[str]]:
    """Every metric of a scrape that has samples, with its labels."""
    found: dict[str, set[str]] = {}
    for metric in text_string_to_metric_families(scrape):
        for sample in metric.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def families(scrape: str) -> Iterator[tuple[str, set[str]]]:
    """Every metric of the service, whether it has samples or not, and the names its samples may have."""
    for metric in text_string_to_metric_families(scrape):
        if metric.name.startswith("autochrome_") and not metric.name.endswith("_created"):
            base = metric.name.removesuffix("_total")
            suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(metric.type, [""])
            yield metric.name, {base + suffix for suffix in suffixes}
