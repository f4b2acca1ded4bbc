"""What Kubernetes would be given: the chart with several sets of values, and the manifests with their overlays."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from tests.deploy.tools import CHART, HELM, KUBECTL, ROOT, Manifest, parse_yaml, succeed

NAMESPACE = "colour"
VALUES_FILES = sorted(path.name for path in CHART.glob("values-*.yaml"))

# Every value that is off or empty by default is on in one of these two.
EVERYTHING: dict[str, Any] = {
    "image": {"repository": "registry.example.org/team/autochrome", "tag": "1.2.3"},
    "imagePullSecrets": [{"name": "registry"}],
    "config": {"AUTOCHROME_LANES": 3},
    "apiKey": {"existingSecret": "autochrome-key"},
    "podLabels": {"team": "colour"},
    "podAnnotations": {"example.org/note": "true"},
    "priorityClassName": "high",
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "colour", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "serviceAccount": {"name": "colourist", "annotations": {"example.org/role": "1"}},
    "networkPolicy": {
        "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
        "egress": [{"ports": [{"port": 443}]}],
    },
    "ingress": {
        "enabled": True,
        "className": "nginx",
        "annotations": {"nginx.ingress.kubernetes.io/proxy-body-size": "257m"},
        "host": "colour.example.org",
        "tlsSecretName": "colour-tls",
    },
    "httpRoute": {
        "enabled": True,
        "parentRefs": [{"name": "gateway", "namespace": "gateways"}],
        "hostnames": ["colour.example.org"],
    },
    "serviceMonitor": {"enabled": True, "labels": {"release": "kube-prometheus-stack"}},
    "prometheusRule": {"enabled": True, "labels": {"release": "kube-prometheus-stack"}},
    "grafanaDashboard": {"enabled": True},
}
HPA = EVERYTHING | {
    "autoscaling": {"mode": "hpa"},
    "weights": {"source": "pvc", "version": "2", "pvc": {"claimName": "weights", "subPath": "v2"}},
}
KEDA = EVERYTHING | {
    "autoscaling": {"mode": "keda"},
    "weights": {
        "source": "init",
        "init": {"image": "registry.example.org/weights:2", "command": ["fetch"], "args": ["v2"]},
    },
}


@cache
def _render_text(file: str | None, values: str, release: str) -> str:
    files: list[str | Path] = ["--values", CHART / file] if file else []
    return succeed(HELM, "template", release, CHART, "--namespace", NAMESPACE, *files, "--values", "-", stdin=values)


def render(
    file: str | None = None, values: dict[str, Any] | None = None, release: str = "autochrome"
) -> list[Manifest]:
    """The chart's objects, its test's included."""
    return parse_yaml(_render_text(file, json.dumps(values or {}), release))


@cache
def _kustomize_text(folder: str) -> str:
    return succeed(KUBECTL, "kustomize", ROOT / "k8s" / "manifests" / folder)


def kustomize(folder: str) -> list[Manifest]:
    """The manifests' objects."""
    return parse_yaml(_kustomize_text(folder))


OVERLAYS = ["base", "overlays/cpu", "overlays/gpu"]
CHART_RENDERS: dict[str, tuple[str | None, dict[str, Any]]] = {
    "default": (None, {}),
    **{file: (file, {}) for file in VALUES_FILES},
    "hpa": (None, HPA),
    "keda": (None, KEDA),
}
RENDERS = [*CHART_RENDERS, *OVERLAYS]
"""Names of all that is checked."""


def manifests(name: str) -> list[Manifest]:
    """The objects of one of `RENDERS`."""
    return kustomize(name) if name in OVERLAYS else render(*CHART_RENDERS[name])


def find(objects: list[Manifest], kind: str) -> Manifest:
    """The only object of a kind, but for those of `helm test`."""
    (found,) = (
        item
        for item in objects
        if item["kind"] == kind and "helm.sh/hook" not in item["metadata"].get("annotations", {})
    )
    return found


def find_settings(objects: list[Manifest]) -> Manifest:
    """The ConfigMap that the service's environment is made of."""
    (source,) = find_container(objects)["envFrom"]
    (found,) = (
        item
        for item in objects
        if item["kind"] == "ConfigMap" and item["metadata"]["name"] == source["configMapRef"]["name"]
    )
    return found


def find_pod(objects: list[Manifest]) -> Manifest:
    """The template of the service's pods."""
    template: Manifest = find(objects, "Deployment")["spec"]["template"]
    return template


def find_container(objects: list[Manifest]) -> Manifest:
    """The service's container."""
    (container,) = find_pod(objects)["spec"]["containers"]
    found: Manifest = container
    return found
