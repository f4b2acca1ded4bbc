"""The chart renders with every set of values, makes only what is asked for, and its own test can run."""

import json
import re
from base64 import b64decode
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.deploy.rendering import (
    CHART_RENDERS,
    EVERYTHING,
    HPA,
    KEDA,
    find,
    find_container,
    find_pod,
    find_settings,
    render,
)
from tests.deploy.tools import CHART, HELM, ROOT, read_yaml, succeed

ALWAYS = {"ConfigMap", "Deployment", "Service", "ServiceAccount", "Pod"}


@pytest.mark.parametrize("name", CHART_RENDERS)
def test_lint_finds_nothing(name: str) -> None:
    file, values = CHART_RENDERS[name]
    files: list[str | Path] = ["--values", CHART / file] if file else []
    succeed(HELM, "lint", "--strict", "--quiet", CHART, *files, "--values", "-", stdin=json.dumps(values))


def off(values: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Paths of values that are false or empty."""
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from ((name, *path) for path in off(value))
        elif value is False or value in ("", [], {}):
            yield (name,)


def look_up(values: Any, path: tuple[str, ...]) -> Any:
    """What is there, or None."""
    for name in path:
        values = values.get(name, {})
    return values


def test_everything_is_on_in_what_is_rendered() -> None:
    # The names have a test below, and this one is not to be on.
    others = {("nameOverride",), ("fullnameOverride",), ("securityContext", "allowPrivilegeEscalation")}
    paths = set(off(read_yaml(CHART / "values.yaml"))) - others
    assert [path for path in paths if not look_up(HPA, path) and not look_up(KEDA, path)] == []


@pytest.mark.parametrize("name", CHART_RENDERS)
def test_objects_have_names_of_their_own(name: str) -> None:
    names = [(item["kind"], item["metadata"]["name"]) for item in render(*CHART_RENDERS[name])]
    assert len(set(names)) == len(names)


def kinds(values: dict[str, Any]) -> set[str]:
    return {item["kind"] for item in render(values=values)}


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({"autoscaling": {"mode": "hpa"}}, "HorizontalPodAutoscaler"),
        ({"autoscaling": {"mode": "keda"}}, "ScaledObject"),
        ({"ingress": EVERYTHING["ingress"]}, "Ingress"),
        ({"httpRoute": EVERYTHING["httpRoute"]}, "HTTPRoute"),
        ({"serviceMonitor": {"enabled": True}}, "ServiceMonitor"),
        ({"prometheusRule": {"enabled": True}}, "PrometheusRule"),
    ],
)
def test_a_feature_adds_its_object(values: dict[str, Any], kind: str) -> None:
    assert kinds(values) - kinds({}) == {kind}


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({"podDisruptionBudget": {"enabled": False}}, "PodDisruptionBudget"),
        ({"networkPolicy": {"enabled": False}}, "NetworkPolicy"),
        ({"serviceAccount": {"create": False}}, "ServiceAccount"),
    ],
)
def test_a_feature_can_be_left_out(values: dict[str, Any], kind: str) -> None:
    assert kinds({}) - kinds(values) == {kind}


def test_by_default_there_are_no_custom_resources() -> None:
    assert kinds({}) == ALWAYS | {"PodDisruptionBudget", "NetworkPolicy"}


def test_an_autoscaler_decides_on_replicas_alone() -> None:
    assert find(render(), "Deployment")["spec"]["replicas"] == 2
    assert "replicas" not in find(render(values={"autoscaling": {"mode": "hpa"}}), "Deployment")["spec"]


@pytest.mark.parametrize("config", [{}, {"AUTOCHROME_LANES": 3, "AUTOCHROME_MAX_WAIT_MS": 0.5}])
def test_settings_arrive_as_they_were_written(config: dict[str, Any]) -> None:
    data = find_settings(render(values={"config": config}))["data"]
    assert data["AUTOCHROME_MAX_UPLOAD_BYTES"] == "268435456"
    assert data["AUTOCHROME_LANES"] == str(config.get("AUTOCHROME_LANES", ""))
    assert data["AUTOCHROME_MAX_WAIT_MS"] == str(config.get("AUTOCHROME_MAX_WAIT_MS", 0))


def test_a_changed_setting_rolls_the_pods() -> None:
    before = find_pod(render())["metadata"]["annotations"]
    after = find_pod(render(values={"config": {"AUTOCHROME_STALL_S": 61}}))["metadata"]["annotations"]
    assert before["checksum/config"] != after["checksum/config"]


def test_the_api_key_comes_from_the_secret() -> None:
    assert "env" not in find_container(render())
    objects = render(values={"apiKey": {"existingSecret": "mine", "key": "token"}})
    (test,) = (item for item in objects if item["kind"] == "Pod")
    for container in (find_container(objects), test["spec"]["containers"][0]):
        (variable,) = (item for item in container["env"] if item["name"] == "AUTOCHROME_API_KEY")
        assert variable["valueFrom"] == {"secretKeyRef": {"name": "mine", "key": "token"}}


@pytest.mark.parametrize("source", ["image", "pvc", "init"])
def test_weights_lie_where_the_image_looks(source: str) -> None:
    weights = {"source": source, "pvc": {"claimName": "weights"}, "init": {"image": "weights:1"}}
    objects = render(values={"weights": weights})
    mounts = {mount["name"]: mount for mount in find_container(objects)["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in find_pod(objects)["spec"]["volumes"]}
    assert set(mounts) == set(volumes)
    if source == "image":
        assert "weights" not in mounts
    else:
        assert f"AUTOCHROME_MODEL_STORE={mounts['weights']['mountPath']}" in (ROOT / "Dockerfile").read_text()
        assert mounts["weights"]["readOnly"] is True
        assert ("persistentVolumeClaim" if source == "pvc" else "emptyDir") in volumes["weights"]


@pytest.mark.parametrize("release", ["autochrome", "colours", "r" * 53])
@pytest.mark.parametrize("values", [{}, {"nameOverride": "n" * 70}, {"fullnameOverride": "f" * 70}])
def test_long_names_are_still_labels(release: str, values: dict[str, Any]) -> None:
    for item in render(values=values, release=release):
        for label in item["metadata"]["labels"].values():
            assert re.fullmatch(r"[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?", label, re.ASCII), label
        if item["kind"] == "Service":
            assert re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", item["metadata"]["name"])


def test_the_test_has_what_it_needs() -> None:
    objects = render()
    (pod,) = (item for item in objects if item["kind"] == "Pod")
    (volume,) = pod["spec"]["volumes"]
    (files,) = (
        item
        for item in objects
        if item["kind"] == "ConfigMap" and item["metadata"]["name"] == volume["configMap"]["name"]
    )
    (container,) = pod["spec"]["containers"]
    folder, script = container["command"][1].rsplit("/", 1)
    assert container["volumeMounts"][0]["mountPath"] == folder
    compile(files["data"][script], script, "exec")
    assert files["data"][script].strip() == (CHART / "files" / script).read_text().strip()
    photo = Image.open(BytesIO(b64decode(files["binaryData"]["photo.jpg"])))
    photo.load()
    assert photo.format == "JPEG"
    assert container["image"] == find_container(objects)["image"]
    service = find(objects, "Service")
    url = f"http://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    assert {"name": "AUTOCHROME_URL", "value": url} in container["env"]
