"""The compose stack, up for real in a Docker engine of its own.

Where no registry can be reached, Debian's Prometheus stands in for the image that compose names, and Grafana, of which
there is no such package, is left out.
"""

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.deploy.tools import PROMETHEUS, ROOT, read_yaml
from tests.image.docker import Docker
from tests.image.podman import Podman
from tests.image.python_image import find_python_image
from tests.image.test_container import colour_a_photo

SERVICES = read_yaml(ROOT / "docker-compose.yml")["services"]
SERVICE_URL, PROMETHEUS_URL = "http://127.0.0.1:8000", "http://127.0.0.1:9090"
PATIENCE_S = 120
STAND_IN = "localhost/prometheus:stand-in"

# Debian's promtool does not know `check ready` yet, by which compose asks whether Prometheus is up.
_PROMTOOL = """#!/usr/bin/env python3
import urllib.request
urllib.request.urlopen("http://127.0.0.1:9090/-/ready")
"""
_PROMETHEUS = """
ARG PYTHON_IMAGE
FROM ${PYTHON_IMAGE}
COPY --chmod=755 prometheus promtool /bin/
RUN mkdir /prometheus && chown 65534:65534 /prometheus
ENTRYPOINT ["/bin/prometheus"]
"""


@pytest.fixture
def docker(podman: Podman, image: str, tmp_path: Path) -> Iterator[Docker]:
    """With the images that compose wants."""
    if shutil.which("dockerd") is None:
        pytest.skip("there is no dockerd; Debian's package docker.io has it")
    if subprocess.run(["docker", "info"], capture_output=True).returncode == 0:
        pytest.skip("there is a Docker engine already, which a second one would disturb")
    docker = Docker(tmp_path)
    try:
        docker.wait_until_ready()
        docker.load(podman, image, SERVICES["autochrome"]["image"])
        if not docker.succeeds("pull", SERVICES["prometheus"]["image"]):
            build_prometheus(podman, find_python_image(podman, tmp_path), tmp_path / "prometheus")
            docker.load(podman, STAND_IN, SERVICES["prometheus"]["image"])
        yield docker
    finally:
        docker.close()


def build_prometheus(podman: Podman, python_image: str, folder: Path) -> None:
    """An image with this machine's Prometheus."""
    folder.mkdir()
    (folder / "Dockerfile").write_text(_PROMETHEUS)
    (folder / "promtool").write_text(_PROMTOOL)
    shutil.copy(PROMETHEUS, folder / "prometheus")
    options = ("--isolation=chroot", "--pull-never", f"--build-arg=PYTHON_IMAGE={python_image}", f"--tag={STAND_IN}")
    podman.run("buildah", "bud", *options, str(folder))


def test_the_stack_comes_up_healthy_colours_and_is_scraped(docker: Docker, figures: dict[str, str]) -> None:
    services = ["autochrome", "prometheus"]
    if docker.succeeds("pull", SERVICES["grafana"]["image"]):
        services.append("grafana")
    started = time.monotonic()
    docker.compose("up", "--detach", "--wait", "--no-build", *services)
    try:
        figures["compose"] = f"{', '.join(services)} healthy after {time.monotonic() - started:.0f} s"
        figures["a photograph through compose"] = colour_a_photo(SERVICE_URL).strip().replace("\n", "; ")
        query = {"query": 'autochrome_requests_total{job="autochrome",instance="autochrome",code="200"} > 0'}
        deadline = time.monotonic() + PATIENCE_S
        while not httpx2.get(f"{PROMETHEUS_URL}/api/v1/query", params=query).json()["data"]["result"]:
            assert time.monotonic() < deadline, "Prometheus never saw the requests"
            time.sleep(1)  # it scrapes every few seconds
        rules = httpx2.get(f"{PROMETHEUS_URL}/api/v1/rules").json()["data"]["groups"]
        assert [rule["name"] for group in rules for rule in group["rules"] if rule["health"] == "err"] == []
        assert rules
        docker.compose("stop")
        assert '"ExitCode":0' in docker.compose("ps", "--all", "--format=json", "autochrome")
    finally:
        docker.compose("down", "--volumes")
