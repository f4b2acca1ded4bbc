"""docker-compose.yml is valid, hardened, mounts what exists, and starts the stack that the other files speak of."""

import json
import posixpath
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from service.settings import Settings
from tests.deploy.rendering import find_container, find_settings, manifests
from tests.deploy.tools import COMPOSE, ROOT, Manifest, read_yaml, run, succeed

OURS = ["autochrome", "autochrome-gpu"]
ALL = [*OURS, "prometheus", "grafana"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
PROMETHEUS = read_yaml(ROOT / "compose" / "prometheus.yml")


@pytest.fixture(scope="module")
def services() -> dict[str, Manifest]:
    """Every service as Docker compose understands it."""
    text = succeed(COMPOSE, "--profile", "gpu", "config", "--format", "json")
    found: dict[str, Manifest] = json.loads(text)["services"]
    return found


def seconds(duration: str) -> int:
    """`1m30s` in seconds."""
    units = {"h": 3600, "m": 60, "s": 1}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)([hms])", duration))


@pytest.mark.parametrize("profile", [[], ["--profile", "gpu"]])
def test_the_file_is_valid(profile: list[str]) -> None:
    assert succeed(COMPOSE, *profile, "config", "--quiet") == ""


def test_a_wrong_file_would_be_found(tmp_path: Path) -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    (tmp_path / "docker-compose.yml").write_text(text.replace("read_only:", "readonly:"))
    assert run(COMPOSE, "--file", tmp_path / "docker-compose.yml", "config", "--quiet").returncode != 0


def test_all_services_are_known(services: dict[str, Manifest]) -> None:
    assert set(services) == set(ALL)


def test_a_gpu_is_only_used_when_asked_for(services: dict[str, Manifest]) -> None:
    assert [name for name, service in services.items() if service.get("profiles")] == ["autochrome-gpu"]


@pytest.mark.parametrize("name", ALL)
def test_services_are_hardened(services: dict[str, Manifest], name: str) -> None:
    service = services[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service["user"].startswith("0")
    assert all(port["host_ip"] == "127.0.0.1" for port in service["ports"])
    assert service["deploy"]["resources"]["limits"].keys() >= {"cpus", "memory"}


@pytest.mark.parametrize("name", ALL)
def test_what_is_mounted_exists(services: dict[str, Manifest], name: str) -> None:
    for volume in services[name].get("volumes", []):
        if volume["type"] == "bind":
            assert Path(volume["source"]).exists()
            assert volume["read_only"] is True


def on_this_machine(service: Manifest, path: str) -> Path:
    """A file of a container, where it is mounted from."""
    for volume in service["volumes"]:
        if volume["type"] == "bind" and path.startswith(volume["target"] + "/"):
            return Path(volume["source"]) / path.removeprefix(volume["target"] + "/")
    raise AssertionError(f"{path} is not mounted")


def test_prometheus_finds_its_files(services: dict[str, Manifest]) -> None:
    prometheus = services["prometheus"]
    flags = dict(argument.removeprefix("--").split("=", 1) for argument in prometheus["command"])
    assert on_this_machine(prometheus, flags["config.file"]).exists()
    folder = Path(flags["config.file"]).parent
    for rules in PROMETHEUS["rule_files"]:
        assert on_this_machine(prometheus, posixpath.normpath(folder / rules)).exists()
    assert flags["storage.tsdb.path"] in [v["target"] for v in prometheus["volumes"] if v["type"] == "volume"]


def test_grafana_finds_its_files(services: dict[str, Manifest]) -> None:
    grafana = services["grafana"]
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert on_this_machine(grafana, home).exists()
    provisioning = on_this_machine(grafana, "/etc/grafana/provisioning/dashboards")
    for file in provisioning.iterdir():
        for provider in read_yaml(file)["providers"]:
            assert Path(home).parent == Path(provider["options"]["path"])


def test_grafana_asks_the_prometheus_beside_it(services: dict[str, Manifest]) -> None:
    (file,) = on_this_machine(services["grafana"], "/etc/grafana/provisioning/datasources").iterdir()
    (source,) = read_yaml(file)["datasources"]
    url = urlsplit(source["url"])
    assert url.port in [port["target"] for port in services[url.hostname or ""]["ports"]]
    assert source["jsonData"]["timeInterval"] == PROMETHEUS["global"]["scrape_interval"]


def test_prometheus_scrapes_the_services_beside_it(services: dict[str, Manifest]) -> None:
    (job,) = PROMETHEUS["scrape_configs"]
    (discovery,) = job["dns_sd_configs"]
    assert discovery["names"] == OURS
    for name in OURS:
        assert discovery["port"] in [port["target"] for port in services[name]["ports"]]


@pytest.mark.parametrize(("name", "overlay"), [("autochrome", "overlays/cpu"), ("autochrome-gpu", "overlays/gpu")])
def test_images_are_those_of_kubernetes(services: dict[str, Manifest], name: str, overlay: str) -> None:
    assert services[name]["image"] == find_container(manifests(overlay))["image"]
    assert re.search(rf"^FROM \S+ AS {services[name]['build']['target']}$", DOCKERFILE, re.MULTILINE)
    assert f"docker build --tag {services[name]['image']} " in DOCKERFILE


@pytest.mark.parametrize("name", OURS)
def test_the_service_may_end_what_it_has_begun(services: dict[str, Manifest], name: str) -> None:
    settings = settings_of(services[name])
    longest = settings.drain_s + settings.upload_timeout_s + settings.request_timeout_s + 5
    assert seconds(services[name]["stop_grace_period"]) > longest


def settings_of(service: Manifest) -> Settings:
    """What the service makes of its environment."""
    environment = {
        key.removeprefix("AUTOCHROME_").lower(): value
        for key, value in service["environment"].items()
        if key.startswith("AUTOCHROME_")
    }
    assert environment.keys() <= Settings.model_fields.keys()
    return Settings.model_validate(environment)


@pytest.mark.parametrize(("name", "values"), [("autochrome", "values-cpu.yaml"), ("autochrome-gpu", "values-gpu.yaml")])
def test_limits_and_what_must_fit_are_the_charts(services: dict[str, Manifest], name: str, values: str) -> None:
    limits, chart = services[name]["deploy"]["resources"]["limits"], manifests(values)
    charts = find_container(chart)["resources"]["limits"]
    assert (f"{int(limits['memory']) / 2**30:g}Gi", f"{limits['cpus']:g}") == (charts["memory"], str(charts["cpu"]))
    assert settings_of(services[name]).max_bytes_held == int(find_settings(chart)["data"]["AUTOCHROME_MAX_BYTES_HELD"])
