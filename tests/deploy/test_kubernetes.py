"""Every object fits the API it is for, on the oldest Kubernetes that the chart allows and on a recent one."""

import json
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from cloudcoil.models.keda.v1alpha1 import ScaledObject
from cloudcoil.models.prometheus_operator.v1 import PrometheusRule, ServiceMonitor

from tests.deploy.rendering import CHART_RENDERS, RENDERS, find, manifests, render
from tests.deploy.tools import CHART, Manifest, read_yaml, type_check

OLDEST, RECENT = "1.27", "1.32"
MODELS: dict[str, Any] = {model.__name__: model for model in (ScaledObject, PrometheusRule, ServiceMonitor)}
# Types only, without patterns and lengths.
TYPED = {"HTTPRoute": "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1/HTTPRoute"}


def is_core(item: Manifest) -> bool:
    return item["kind"] not in MODELS.keys() | TYPED.keys()


@pytest.mark.parametrize("version", [OLDEST, RECENT])
@pytest.mark.parametrize("name", RENDERS)
def test_kubernetes_own_kinds(name: str, version: str) -> None:
    # A kind without a schema raises, too: nothing passes unseen.
    for item in filter(is_core, manifests(name)):
        assert kubernetes_validate.validate(item, version, strict=True) == version


def test_the_chart_says_which_kubernetes_it_needs() -> None:
    assert read_yaml(CHART / "Chart.yaml")["kubeVersion"] == f">={OLDEST}-0"


def test_an_unknown_field_would_be_found() -> None:
    deployment = find(render(), "Deployment")
    deployment["spec"]["template"]["spec"]["terminationGracePeriod"] = 5
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, RECENT, strict=True)


def dump(item: Manifest) -> Manifest:
    """What its model makes of a custom resource: fields it does not know are gone."""
    model = MODELS[item["kind"]].model_validate(item, strict=True)
    dumped: Manifest = model.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return dumped


def custom_resources() -> list[Manifest]:
    return [item for name in CHART_RENDERS for item in manifests(name) if item["kind"] in MODELS]


def test_custom_resources_fit_their_models() -> None:
    found = custom_resources()
    assert {item["kind"] for item in found} == set(MODELS)
    for item in found:
        assert dump(item) == item


def test_an_unknown_field_of_a_custom_resource_would_be_found() -> None:
    for item in custom_resources():
        item["spec"]["colour"] = "sepia"
        assert dump(item) != item


@pytest.mark.parametrize("kind", TYPED)
def test_other_custom_resources_have_the_right_types(kind: str, tmp_path: Path) -> None:
    found = [item for name in CHART_RENDERS for item in manifests(name) if item["kind"] == kind]
    assert found
    imports = f'import type {{ I{kind} }} from "{TYPED[kind]}";'
    assert type_check(tmp_path, imports, [(f"I{kind}", item) for item in found]) == ""


def test_an_unknown_or_wrong_field_of_theirs_would_be_found(tmp_path: Path) -> None:
    route = find(manifests("hpa"), "HTTPRoute")
    unknown, wrong = (json.loads(json.dumps(route)) for _ in range(2))
    unknown["spec"]["rules"][0]["timeout"] = "95s"
    wrong["spec"]["rules"][0]["backendRefs"][0]["port"] = "http"
    imports = f'import type {{ IHTTPRoute }} from "{TYPED["HTTPRoute"]}";'
    said = type_check(tmp_path, imports, [("IHTTPRoute", unknown), ("IHTTPRoute", wrong)])
    assert said.count("error TS") == 2
