"""A real Prometheus with compose's rules: it scrapes the container, and wakes somebody when that is gone."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import yaml

from tests.deploy.tools import PROMETHEUS, ROOT, read_yaml
from tests.image.podman import Podman
from tests.processes import free_port

PATIENCE_S = 420


class Prometheus:
    """One that runs."""

    def __init__(self, url: str) -> None:
        self._url = url

    def wait_for(self, query: str) -> None:
        """Asks until the query gives something."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                answer = httpx2.get(f"{self._url}/api/v1/query", params={"query": query})
                if answer.status_code == 200 and answer.json()["data"]["result"]:
                    return
            except httpx2.TransportError:
                pass
            time.sleep(1)  # Prometheus itself looks only every few seconds
        raise AssertionError(f"{query} gave nothing in {PATIENCE_S} s")

    def firing(self) -> list[str]:
        """The names of all alerts that fire now."""
        alerts = httpx2.get(f"{self._url}/api/v1/alerts").json()["data"]["alerts"]
        return [alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"]


@pytest.fixture
def target() -> int:
    """The port of the service to be scraped."""
    return free_port()


@pytest.fixture
def prometheus(target: int, tmp_path: Path) -> Iterator[Prometheus]:
    """With compose's configuration, but for the address of the service."""
    configuration = read_yaml(ROOT / "compose" / "prometheus.yml")
    (job,) = (job for job in configuration["scrape_configs"] if job["job_name"] == "autochrome")
    for discovery in [key for key in job if key.endswith("_sd_configs")]:
        del job[discovery]
    job["static_configs"] = [{"targets": [f"127.0.0.1:{target}"]}]
    configuration["scrape_configs"] = [job]
    configuration["rule_files"] = [str(ROOT / "compose" / file) for file in configuration["rule_files"]]
    file, port = tmp_path / "prometheus.yml", free_port()
    file.write_text(yaml.safe_dump(configuration))
    command = [str(PROMETHEUS), f"--config.file={file}", f"--storage.tsdb.path={tmp_path / 'data'}"]
    process = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stderr=subprocess.DEVNULL)
    yield Prometheus(f"http://127.0.0.1:{port}")
    process.terminate()
    process.wait()


def test_an_alert_fires_when_the_service_is_gone(
    podman: Podman, image: str, target: int, prometheus: Prometheus, figures: dict[str, str]
) -> None:
    with podman.container("autochrome-watched", target) as container:
        container.wait_until_ready()
        prometheus.wait_for('autochrome_ready{job="autochrome"} == 1')
        assert prometheus.firing() == []
        container.terminate()
        assert container.wait() == 0
    gone = time.monotonic()
    prometheus.wait_for('ALERTS{alertname="AutochromeDown", alertstate="firing", severity="page"}')
    assert "AutochromeDown" in prometheus.firing()
    figures["AutochromeDown fires"] = f"{time.monotonic() - gone:.0f} s after the service is gone"
