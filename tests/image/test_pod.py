"""The chart's own Deployment, started as a pod."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import yaml

from tests.deploy.tools import CHART, HELM, parse_yaml, succeed
from tests.image.podman import Container, Podman
from tests.image.test_container import colour_a_photo
from tests.processes import free_port


@pytest.fixture
def pod(podman: Podman, image: str, tmp_path: Path) -> Iterator[tuple[Container, list[str]]]:
    """What `helm install` with the CPU values would apply, as far as one machine has it; what its probes ask."""
    repository, _, tag = image.rpartition(":")
    options = [f"--values={CHART / 'values-cpu.yaml'}", f"--set=image.repository={repository},image.tag={tag}"]
    rendered = parse_yaml(succeed(HELM, "template", "autochrome", CHART, *options))
    documents = [document for document in rendered if document["kind"] in ("ConfigMap", "Deployment")]
    (deployment,) = (document for document in documents if document["kind"] == "Deployment")
    deployment["spec"]["replicas"] = 1
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    # The one thing that is added: a way in, which is the Service's business in a cluster.
    port = container["ports"][0]["hostPort"] = free_port()
    container["ports"][0]["hostIP"] = "127.0.0.1"
    # For HTTP probes podman runs curl in the container, where there is none: this test asks what they would.
    probes = [container.pop(kind)["httpGet"]["path"] for kind in ("startupProbe", "livenessProbe", "readinessProbe")]
    manifest = tmp_path / "pod.yaml"
    manifest.write_text(yaml.safe_dump_all(documents))
    podman.run("play", "kube", str(manifest), timeout_s=120)
    try:
        (name,) = (name for name in podman.run("ps", "--format={{.Names}}").split() if name.endswith("-autochrome"))
        yield Container(podman, name, port), probes
    finally:
        podman.run("play", "kube", "--down", str(manifest), timeout_s=240)


def test_the_charts_deployment_colours_a_photograph(pod: tuple[Container, list[str]], figures: dict[str, str]) -> None:
    container, probes = pod
    container.wait_until_ready()
    config = container.podman.inspect("container", container.name)
    assert config["HostConfig"]["ReadonlyRootfs"]
    assert config["HostConfig"]["Memory"] == 4 * 2**30
    assert config["EffectiveCaps"] in (None, [])
    assert config["Config"]["User"].startswith("10001")
    assert [httpx2.get(f"{container.url}{path}").status_code for path in probes] == [200, 200, 200]
    figures["a photograph through the chart's Deployment"] = colour_a_photo(container.url).strip().replace("\n", "; ")
