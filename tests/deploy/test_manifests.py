"""The manifests say the same as the chart, for those who read or apply YAML alone."""

from copy import deepcopy

import pytest

from tests.deploy.rendering import OVERLAYS, find_pod, find_settings, kustomize, render
from tests.deploy.tools import Manifest


def normalize(objects: list[Manifest]) -> dict[str, Manifest]:
    """By kind, without what cannot be equal: metadata, and the name that the ConfigMap is given by its content."""
    objects = [item for item in deepcopy(objects) if "helm.sh/hook" not in item["metadata"].get("annotations", {})]
    find_settings(objects)  # the pods do ask for it
    find_pod(objects)["metadata"].pop("annotations")
    for container in find_pod(objects)["spec"]["containers"]:
        container["envFrom"][0]["configMapRef"].pop("name")
    for item in objects:
        item.pop("metadata")
    normalized = {item["kind"]: item for item in objects}
    assert len(normalized) == len(objects)
    return normalized


@pytest.mark.parametrize(
    ("folder", "file"),
    [("base", None), ("overlays/cpu", "values-cpu.yaml"), ("overlays/gpu", "values-gpu.yaml")],
)
def test_an_overlay_is_the_chart_with_its_values(folder: str, file: str | None) -> None:
    assert normalize(kustomize(folder)) == normalize(render(file))


@pytest.mark.parametrize("folder", OVERLAYS)
def test_names_and_labels_are_the_charts(folder: str) -> None:
    chart = {item["kind"]: item for item in render() if "helm.sh/hook" not in item["metadata"].get("annotations", {})}
    for item in kustomize(folder):
        ours, theirs = item["metadata"], chart[item["kind"]]["metadata"]
        assert ours["name"] == theirs["name"] or (
            item["kind"] == "ConfigMap" and ours["name"].startswith(theirs["name"] + "-")
        )
        assert ours["labels"].items() <= theirs["labels"].items()
