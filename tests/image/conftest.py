"""The image, built once for all that is checked on it; and the figures that the checks measure, told at the end."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.deploy.tools import ROOT
from tests.image.podman import IMAGE, Container, Podman
from tests.image.python_image import find_python_image, pip_configuration
from tests.processes import free_port

FIGURES = pytest.StashKey[dict[str, str]]()

_TORCH_WITHOUT_CUDA = "https://download.pytorch.org/whl/cpu"

Load = Callable[..., subprocess.Popen[str]]


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FIGURES] = {}


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    terminalreporter.section("figures")
    for name, figure in config.stash[FIGURES].items():
        terminalreporter.write_line(f"{name}: {figure}")


@pytest.fixture(scope="session")
def figures(request: pytest.FixtureRequest) -> dict[str, str]:
    """What is measured, for the report at the end."""
    return request.config.stash[FIGURES]


@pytest.fixture(scope="session")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Podman:
    return Podman(tmp_path_factory.mktemp("podman"))


@pytest.fixture(scope="session")
def image(podman: Podman, tmp_path_factory: pytest.TempPathFactory, figures: dict[str, str]) -> str:
    """The CPU image, built from the Dockerfile as it is."""
    folder = tmp_path_factory.mktemp("build")
    figures["base image"] = python_image = find_python_image(podman, folder)
    figures["torch"] = index = _torch_index()
    started = time.monotonic()
    podman.run(
        *("buildah", "bud", "--isolation=chroot", "--network=host", "--pull-never", "--format=docker", "--layers"),
        *pip_configuration(folder),
        *(f"--build-arg=PYTHON_IMAGE={python_image}", f"--build-arg=TORCH_INDEX={index}"),
        f"--build-arg=REVISION={_revision()}",
        # Debian's buildah does not look for stages by a build argument, as the last line of the Dockerfile does.
        *("--target=cpu", f"--tag={IMAGE}", "."),
        timeout_s=1800,
    )
    figures["build"] = f"{time.monotonic() - started:.0f} s"
    return IMAGE


def _torch_index() -> str:
    """The one the Dockerfile names; where that is out of reach pip's own, whose torch brings CUDA's libraries."""
    try:
        with urlopen(f"{_TORCH_WITHOUT_CUDA}/torch/", timeout=10):
            return _TORCH_WITHOUT_CUDA
    except (URLError, TimeoutError):
        asked = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
        own = subprocess.run(asked, capture_output=True, text=True).stdout.strip()
        return own or "https://pypi.org/simple"


def _revision() -> str:
    return subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=ROOT).stdout.strip()


@pytest.fixture(scope="module")
def service(podman: Podman, image: str) -> Iterator[Container]:
    """The service in a hardened container, ready."""
    with podman.container("autochrome-check", free_port()) as container:
        container.wait_until_ready()
        yield container


@pytest.fixture
def load() -> Iterator[Load]:
    """Starts benchmarks/load.py: so many clients, each of which asks again as soon as it has its answer."""
    running: list[subprocess.Popen[str]] = []

    def start(port: int, photograph: Path, clients: int, *until: str, query: str = "") -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "benchmarks.load", f"--port={port}", f"--path=/colorize{query}"]
        command += [f"--photograph={photograph}", f"--clients={clients}", *until]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        with process:  # closes the pipe
            pass


def statuses(load: subprocess.Popen[str]) -> list[int]:
    """Waits for the load's end; the status of every answer, 0 where there was none."""
    output, _ = load.communicate()
    assert load.returncode == 0
    answered: list[int] = json.loads(output)["answers"]["status"]
    return answered
