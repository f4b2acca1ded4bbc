"""The service in a hardened container: it answers, it keeps within its memory, it leaves when it is told to."""

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from signal import SIGTERM

import httpx2
import numpy as np
import pytest
from PIL import Image

from service.api.context import COLORIZE_PATH
from tests.deploy.tools import CHART, ROOT
from tests.image.conftest import Load, statuses
from tests.image.podman import MEMORY_LIMIT, Container, Podman
from tests.processes import catches, free_port

PHOTO = ROOT / "docs" / "pictures" / "farmer.jpg"
LOAD_S = 60


def colour_a_photo(url: str) -> str:
    """Runs what `helm test` runs in its pod; what it prints."""
    script = CHART / "files" / "colour_a_photo.py"
    environment = {"AUTOCHROME_URL": url}
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment, timeout=110)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_a_photograph_is_coloured_by_every_backbone(service: Container, figures: dict[str, str]) -> None:
    said = colour_a_photo(service.url)
    for backbone in ("mobilenet_v2", "resnet101", "blend"):
        assert f"ok: {backbone}: " in said
    figures["a photograph through the container"] = said.strip().replace("\n", "; ")


def test_it_can_write_nowhere_but_to_tmp(service: Container) -> None:
    podman = service.podman
    assert podman.run("exec", service.name, "id", "-u").strip() == "10001"
    assert podman.succeeds("exec", service.name, "touch", "/tmp/x")
    for folder in ("/app", "/opt/autochrome", "/var/tmp", "/"):
        assert not podman.succeeds("exec", service.name, "touch", f"{folder}/x")
    capabilities = podman.run("exec", service.name, "grep", "CapEff", "/proc/1/status")
    assert int(capabilities.split()[1], 16) == 0


@pytest.fixture(scope="session")
def large_photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As many pixels as are accepted: 8,660 × 5,773, in colour, so that everything has to be converted."""
    file = tmp_path_factory.mktemp("photos") / "large.jpg"
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 255, (578, 866, 3), np.uint8))
    noise.resize((8660, 5773), Image.Resampling.BICUBIC).save(file, quality=90)
    return file


def test_it_keeps_within_its_memory(service: Container, load: Load, large_photo: Path, figures: dict[str, str]) -> None:
    # Both networks, small photographs in a crowd, and as many of the largest ones as are let in at once.
    loads = [
        load(service.port, PHOTO, 8, f"--seconds={LOAD_S}", query="?backbone=blend"),
        load(service.port, large_photo, 2, f"--seconds={LOAD_S}"),
    ]
    peak, done = 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.1):
            peak = max(peak, service.memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    answers = [statuses(each) for each in loads]
    done.set()
    watcher.join()
    assert set(answers[0]) | set(answers[1]) <= {200, 429}  # 429: no room for so many pixels at the moment
    assert answers[0].count(200) > 0
    assert answers[1].count(200) > 0
    assert not service.state["OOMKilled"]
    assert service.state["Running"]
    figures[f"peak memory in {LOAD_S} s of load"] = f"{peak / 2**20:.0f} MiB of {MEMORY_LIMIT / 2**20:.0f}"
    figures["answers meanwhile"] = "; ".join(
        f"{name}: {sum(s == 200 for s in each)} × 200, {sum(s == 429 for s in each)} × 429"
        for name, each in zip(("small", "50 megapixels"), answers, strict=True)
    )
    assert peak < 0.9 * MEMORY_LIMIT


def test_sigterm_answers_what_is_in_work(podman: Podman, image: str, load: Load, figures: dict[str, str]) -> None:
    with podman.container("autochrome-drained", free_port()) as container:
        container.wait_until_ready()
        assert podman.succeeds("healthcheck", "run", container.name)
        clients = load(container.port, PHOTO, 8, "--seconds=60")  # they would go on after the container's end
        with httpx2.Client(base_url=container.url) as metrics:
            while "autochrome_in_flight 8.0" not in metrics.get("/metrics").text:
                assert clients.poll() is None
        started = time.monotonic()
        container.terminate()
        while httpx2.get(f"{container.url}/readyz").status_code == 200:
            pass  # until it drains, and says so
        assert not podman.succeeds("healthcheck", "run", container.name)
        assert container.wait() == 0, container.log
        figures["SIGTERM under load to exit status 0"] = f"{time.monotonic() - started:.1f} s, DRAIN_S included"
        lines = [json.loads(line) for line in container.log.splitlines()]
        answered = Counter(line["status"] for line in lines if line.get("path") == COLORIZE_PATH)
        # 503: came when nobody was let in any more, as there was no router. 499 would be one that was cut off.
        assert answered[200] >= 8
        assert set(answered) <= {200, 503}


def test_sigterm_is_heard_before_anything_is_loaded(podman: Podman, image: str) -> None:
    with podman.container("autochrome-early", free_port()) as container:
        while not catches(container.state["Pid"], SIGTERM):
            assert container.state["Running"]
        container.terminate()
        assert container.wait() == 0
        assert "warmed up" not in container.log
