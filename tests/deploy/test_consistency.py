"""What stands in several files is the same in all of them: names, labels, ports, users, deadlines, memory."""

import re
from typing import Any

import pytest
from starlette.testclient import TestClient

from service.settings import Settings
from tests.deploy.rendering import (
    CHART_RENDERS,
    OVERLAYS,
    RENDERS,
    VALUES_FILES,
    find,
    find_container,
    find_pod,
    find_settings,
    manifests,
    render,
)
from tests.deploy.tools import CHART, ROOT, Manifest, read_yaml

DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = read_yaml(ROOT / "docker-compose.yml")
JOB = read_yaml(ROOT / "compose" / "prometheus.yml")["scrape_configs"][0]["job_name"]
WITH_EVERYTHING = ["hpa", "keda"]
PROCESS_BYTES = int(1.75 * 2**30)
SPARE_BYTES = 512 * 2**20  # what was not thought of
UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


def from_dockerfile(pattern: str) -> str:
    """The only thing in the Dockerfile that a pattern finds, however often."""
    (found,) = set(re.findall(pattern, DOCKERFILE, re.MULTILINE))
    assert isinstance(found, str)
    return found


PORT = int(from_dockerfile(r"^EXPOSE (\d+)$"))


def labels(item: Manifest) -> dict[str, str]:
    found: dict[str, str] = item["metadata"]["labels"]
    return found


def pods_of(objects: list[Manifest]) -> list[dict[str, str]]:
    """Labels of the pods that must not be meant: those of `helm test`."""
    return [labels(item) for item in objects if item["kind"] == "Pod"]


def selectors(objects: list[Manifest]) -> dict[str, dict[str, str]]:
    """By kind, the labels by which an object finds the service's pods."""
    found = {"Deployment": find(objects, "Deployment")["spec"]["selector"]["matchLabels"]}
    found["Service"] = find(objects, "Service")["spec"]["selector"]
    found["PodDisruptionBudget"] = find(objects, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"]
    found["NetworkPolicy"] = find(objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"]
    for constraint in find_pod(objects)["spec"]["topologySpreadConstraints"]:
        found[constraint["topologyKey"]] = constraint["labelSelector"]["matchLabels"]
    return found


@pytest.mark.parametrize("name", RENDERS)
def test_selectors_find_the_services_pods_and_no_others(name: str) -> None:
    objects = manifests(name)
    for selector in selectors(objects).values():
        assert selector.items() <= labels(find_pod(objects)).items()
        assert not any(selector.items() <= others.items() for others in pods_of(objects))


@pytest.mark.parametrize("name", RENDERS)
def test_ports_are_the_images(name: str) -> None:
    objects = manifests(name)
    (port,) = find_container(objects)["ports"]
    assert port["containerPort"] == PORT == int(from_dockerfile(r"AUTOCHROME_PORT=(\d+)"))
    (service_port,) = find(objects, "Service")["spec"]["ports"]
    assert service_port["targetPort"] == service_port["name"] == port["name"]
    for rule in find(objects, "NetworkPolicy")["spec"]["ingress"]:
        assert rule["ports"] == [{"port": port["name"]}]
    for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert find_container(objects)[kind]["httpGet"]["port"] == port["name"]
    # The image listens on every address; nothing may override that.
    assert not find_settings(objects)["data"].keys() & {"AUTOCHROME_HOST", "AUTOCHROME_PORT", "AUTOCHROME_MODEL_STORE"}


@pytest.mark.parametrize("name", RENDERS)
def test_probes_ask_what_the_service_answers(name: str, service: TestClient) -> None:
    container = find_container(manifests(name))
    paths = [container[kind]["httpGet"]["path"] for kind in ("startupProbe", "livenessProbe", "readinessProbe")]
    assert paths == ["/livez", "/livez", "/readyz"]
    paths.append(from_dockerfile(r"'GET', '(/\w+)'"))
    assert {service.get(path).status_code for path in paths} == {200}


@pytest.mark.parametrize("folder", OVERLAYS)
def test_scrape_annotations_lead_to_the_metrics(folder: str, service: TestClient) -> None:
    annotations = find_pod(manifests(folder))["metadata"]["annotations"]
    assert annotations["prometheus.io/scrape"] == "true"
    assert int(annotations["prometheus.io/port"]) == PORT
    assert "autochrome_build_info" in service.get(annotations["prometheus.io/path"]).text


@pytest.mark.parametrize("name", WITH_EVERYTHING)
def test_the_outside_reaches_public_paths_only(name: str, service: TestClient) -> None:
    objects = manifests(name)
    server = find(objects, "Service")
    (rule,) = find(objects, "Ingress")["spec"]["rules"]
    (route,) = find(objects, "HTTPRoute")["spec"]["rules"]
    paths = [path["path"] for path in rule["http"]["paths"]]
    assert paths == [match["path"]["value"] for match in route["matches"]]
    assert not {"/metrics", "/livez", "/readyz"} & set(paths)
    assert all(service.get(path).status_code in (200, 405) for path in paths)
    assert service.get("/nowhere").status_code == 404
    assert {path["pathType"] for path in rule["http"]["paths"]} == {"Exact"}
    for path in rule["http"]["paths"]:
        backend = path["backend"]["service"]
        assert (backend["name"], backend["port"]["name"]) == (
            server["metadata"]["name"],
            server["spec"]["ports"][0]["name"],
        )
    (backend,) = route["backendRefs"]
    assert (backend["name"], backend["port"]) == (server["metadata"]["name"], server["spec"]["ports"][0]["port"])


@pytest.mark.parametrize("name", WITH_EVERYTHING)
def test_prometheus_finds_the_service_under_its_job(name: str) -> None:
    objects = manifests(name)
    monitor, server = find(objects, "ServiceMonitor")["spec"], find(objects, "Service")
    assert monitor["selector"]["matchLabels"].items() <= labels(server).items()
    (endpoint,) = monitor["endpoints"]
    assert endpoint["port"] == server["spec"]["ports"][0]["name"]
    assert labels(server)[monitor["jobLabel"]] == JOB == "autochrome"
    # The rates that pods are scaled by span a minute.
    assert int(endpoint["interval"].removesuffix("s")) * 4 <= 60


@pytest.mark.parametrize("name", WITH_EVERYTHING)
def test_a_closed_service_lets_its_test_in(name: str) -> None:
    objects = manifests(name)
    (rule,) = find(objects, "NetworkPolicy")["spec"]["ingress"]
    admitted = [peer["podSelector"]["matchLabels"] for peer in rule["from"] if "podSelector" in peer]
    assert any(selector.items() <= pod.items() for selector in admitted for pod in pods_of(objects))


def test_the_autoscaler_asks_for_the_metrics_that_the_adapter_has() -> None:
    scaler = find(manifests("hpa"), "HorizontalPodAutoscaler")["spec"]
    rules = read_yaml(CHART / "files" / "prometheus-adapter.yaml")["rules"]["custom"]
    of_pods = [metric["pods"] for metric in scaler["metrics"] if metric["type"] == "Pods"]
    assert {metric["metric"]["name"] for metric in of_pods} == {rule["name"]["as"] for rule in rules}
    # Only metrics-server has the other one, and it is a share of what is requested.
    (of_processor,) = (metric["resource"] for metric in scaler["metrics"] if metric["type"] == "Resource")
    assert of_processor["name"] == "cpu"
    assert find_container(manifests("hpa"))["resources"]["requests"]["cpu"]
    for rule in rules:
        assert re.fullmatch(rule["name"]["matches"], rule["seriesQuery"].partition("{")[0])
    target = scaler["scaleTargetRef"]
    deployment = find(manifests("hpa"), "Deployment")
    assert target == {
        "apiVersion": deployment["apiVersion"],
        "kind": "Deployment",
        "name": deployment["metadata"]["name"],
    }


@pytest.mark.parametrize("release", ["autochrome", "colours"])
def test_keda_asks_for_the_deployments_pods(release: str) -> None:
    objects = render(values={"autoscaling": {"mode": "keda"}}, release=release)
    scaler, deployment = find(objects, "ScaledObject")["spec"], find(objects, "Deployment")["metadata"]["name"]
    assert scaler["scaleTargetRef"] == {"name": deployment}
    assert [trigger["type"] for trigger in scaler["triggers"]] == ["prometheus", "prometheus", "cpu"]
    for trigger in scaler["triggers"][:2]:
        (pattern,) = re.findall(r'pod=~"(.+?)"', trigger["metadata"]["query"])
        assert re.fullmatch(pattern, f"{deployment}-7c9d8bbf54-x2x9z")
        assert not re.fullmatch(pattern, f"{deployment}-test")
        assert not re.fullmatch(pattern, f"{deployment}-canary-7c9d8bbf54-x2x9z")


@pytest.mark.parametrize("name", RENDERS)
def test_the_user_is_the_images(name: str) -> None:
    security = find_pod(manifests(name))["spec"]["securityContext"]
    user = f"{security['runAsUser']}:{security['runAsGroup']}"
    assert user == from_dockerfile(r"^USER (\S+)$")
    assert {COMPOSE["services"][name]["user"] for name in ("autochrome", "autochrome-gpu")} == {user}


@pytest.mark.parametrize("file", [None, *VALUES_FILES])
def test_images_are_tagged_with_the_version(file: str | None) -> None:
    version = read_yaml(CHART / "Chart.yaml")["appVersion"]
    assert find_container(render(file))["image"].removesuffix("-cuda") == f"autochrome:{version}"
    assert from_dockerfile(r'image\.version="(\S+)"') == version


def settings_of(objects: list[Manifest]) -> Settings:
    """What the service makes of its ConfigMap."""
    data = {key.removeprefix("AUTOCHROME_").lower(): value for key, value in find_settings(objects)["data"].items()}
    return Settings.model_validate({key: value for key, value in data.items() if value})


@pytest.mark.parametrize("name", RENDERS)
def test_the_service_accepts_its_settings(name: str) -> None:
    names = {key.removeprefix("AUTOCHROME_").lower() for key in find_settings(manifests(name))["data"]}
    assert names <= Settings.model_fields.keys()
    settings_of(manifests(name))


def bytes_of(quantity: str) -> int:
    return int(float(quantity[:-2]) * UNITS[quantity[-2:]])


@pytest.mark.parametrize("name", RENDERS)
def test_what_is_held_fits_into_memory(name: str) -> None:
    objects = manifests(name)
    limit = bytes_of(find_container(objects)["resources"]["limits"]["memory"])
    assert limit >= PROCESS_BYTES + settings_of(objects).max_bytes_held + SPARE_BYTES


def test_what_the_service_accepts_passes_the_ingress_that_is_described() -> None:
    """With a little more, which a multipart form needs."""
    readme = (ROOT / "k8s" / "chart" / "README.md").read_text()
    (size,) = re.findall(r"proxy-body-size: (\d+)m", readme)
    (told,) = re.findall(r"bodies of (\d+) MiB", readme)
    accepted = settings_of(manifests("default")).max_upload_bytes
    assert int(told) * 2**20 == accepted
    assert accepted < int(size) * 2**20 < 1.1 * accepted


def check_grace_period(objects: list[Manifest]) -> None:
    settings = settings_of(objects)
    command, seconds = find_container(objects)["lifecycle"]["preStop"]["exec"]["command"]
    assert command == "/bin/sleep"
    longest = int(seconds) + settings.drain_s + settings.upload_timeout_s + settings.request_timeout_s + 5
    assert find_pod(objects)["spec"]["terminationGracePeriodSeconds"] > longest


@pytest.mark.parametrize("name", RENDERS)
def test_pods_may_end_what_they_have_begun(name: str) -> None:
    check_grace_period(manifests(name))


@pytest.mark.parametrize(
    "values",
    [
        {"preStopSleepSeconds": 90},
        {"config": {"AUTOCHROME_DRAIN_S": 40.5}},
        {"config": {"AUTOCHROME_UPLOAD_TIMEOUT_S": 600.2, "AUTOCHROME_REQUEST_TIMEOUT_S": 300.9}},
    ],
)
def test_the_grace_period_follows_the_deadlines(values: dict[str, Any]) -> None:
    check_grace_period(render(values=values))


@pytest.mark.parametrize("config", [{}, {"AUTOCHROME_UPLOAD_TIMEOUT_S": 600.2}])
def test_the_gateway_is_more_patient_than_the_service(config: dict[str, Any]) -> None:
    values = CHART_RENDERS["hpa"][1] | {"config": config}
    objects = render(values=values)
    (rule,) = find(objects, "HTTPRoute")["spec"]["rules"]
    settings = settings_of(objects)
    assert int(rule["timeouts"]["request"].removesuffix("s")) > settings.upload_timeout_s + settings.request_timeout_s
