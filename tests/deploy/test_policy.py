"""What linters of Dockerfiles and scanners for misconfiguration say; every waiver has its reason, and is needed."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.rendering import RENDERS, find, manifests
from tests.deploy.tools import HADOLINT, ROOT, TOOLS, TRIVY, read_yaml, run, succeed

DOCKERFILE = (ROOT / "Dockerfile").read_text()
WAIVERS = ROOT / ".trivyignore.yaml"


def test_the_dockerfile_follows_hadolints_rules() -> None:
    succeed(HADOLINT, "Dockerfile")


def copied() -> set[str]:
    """What the Dockerfile takes out of the build context."""
    lines = re.findall(r"^COPY (?!--from)(?:--\S+ )?(.+) \S+$", DOCKERFILE, re.MULTILINE)
    return {source for line in lines for source in line.split()}


def test_the_build_context_is_what_is_copied() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    everything, *let_in = [line for line in lines if line and not line.startswith("#")]
    assert everything == "*"
    assert {line.removeprefix("!") for line in let_in if line.startswith("!")} == copied()
    assert [name for name in copied() if not (ROOT / name).exists()] == []


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the Dockerfile and everything that Kubernetes would be given."""
    folder = tmp_path_factory.mktemp("scanned")
    shutil.copy(ROOT / "Dockerfile", folder)
    for name in RENDERS:
        file = f"{name.removesuffix('.yaml').replace('/', '-')}.yaml"
        (folder / file).write_text(yaml.safe_dump_all(manifests(name)))
    return folder


def scan(folder: Path, *options: str | Path) -> tuple[int, list[dict[str, Any]]]:
    """The exit status of trivy, and its results, one for each file."""
    report = folder.with_name("report.json")
    offline: list[str | Path] = ["--skip-check-update", "--skip-version-check", "--cache-dir", TOOLS / "trivy"]
    form: list[str | Path] = ["--quiet", "--exit-code", "3", "--format", "json", "--output", report]
    result = run(TRIVY, "config", *offline, *form, *options, folder)
    assert result.returncode in (0, 3), result.stdout
    return result.returncode, json.loads(report.read_text())["Results"]


def test_nothing_is_misconfigured(scanned: Path) -> None:
    status, results = scan(scanned, "--ignorefile", WAIVERS)
    findings = [finding for result in results for finding in result.get("Misconfigurations", [])]
    assert [(finding["ID"], finding["Message"]) for finding in findings] == []
    assert status == 0
    assert {result["Target"] for result in results} == {path.name for path in scanned.iterdir()}


def test_waivers_are_needed_and_have_reasons(scanned: Path) -> None:
    status, results = scan(scanned, "--ignorefile", "/dev/null")
    findings = [finding for result in results for finding in result.get("Misconfigurations", [])]
    assert status == 3
    waivers = read_yaml(WAIVERS)["misconfigurations"]
    assert {finding["ID"] for finding in findings} == {waiver["id"] for waiver in waivers}
    assert all(waiver["statement"] for waiver in waivers)
    # What is taken for secrets: settings with long numbers, and a line of the test's script.
    secrets = " ".join(finding["Message"] for finding in findings if finding["ID"] == "KSV-01010")
    settings = {"MAX_PIXELS", "MAX_BYTES_HELD", "MAX_UPLOAD_BYTES", "MAX_CONNECTIONS"}
    settings = {f"AUTOCHROME_{name}" for name in settings}
    assert set(re.findall(r'"(.+?)"', secrets)) == settings | {"    if key "}
    # The registry that is not trusted is in the values that the tests made up.
    assert {result["Target"] for result in results if "KSV-0125" in str(result)} == {"hpa.yaml", "keda.yaml"}


def test_a_misconfiguration_would_be_found(tmp_path: Path) -> None:
    deployment = find(manifests("default"), "Deployment")
    del deployment["spec"]["template"]["spec"]["containers"][0]["securityContext"]
    (tmp_path / "scanned").mkdir()
    (tmp_path / "scanned" / "deployment.yaml").write_text(yaml.safe_dump(deployment))
    status, _ = scan(tmp_path / "scanned", "--ignorefile", WAIVERS)
    assert status == 3
