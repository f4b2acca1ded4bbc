"""What is in the image, and what is not."""

import json
import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.image.podman import Podman


def test_it_runs_as_nobody_and_hears_signals(podman: Podman, image: str) -> None:
    config = podman.inspect("image", image)["Config"]
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["python", "-m", "service"]
    assert config["StopSignal"] == "SIGTERM"
    assert config["Labels"]["org.opencontainers.image.version"] == version("autochrome")
    # Some commit's: Debian's buildah may take the label from its cache, whatever the build argument.
    assert re.fullmatch("[0-9a-f]{40}", config["Labels"]["org.opencontainers.image.revision"])


@pytest.fixture
def root(podman: Podman, image: str) -> Iterator[Path]:
    """The image's file system."""
    yield Path(podman.run("image", "mount", image).strip())
    podman.run("image", "unmount", image)


def test_only_the_service_and_its_weights_are_in_it(root: Path) -> None:
    parts = {path.name for path in (root / "app").iterdir()}
    assert parts == {"service", "model_store", f"autochrome-{version('autochrome')}.dist-info"}
    packages = {path.name for path in (root / "opt/autochrome/lib/python3.11/site-packages").iterdir()}
    assert {"torch", "fastapi", "openvino"} <= packages
    assert not {name for name in packages if name.split("-")[0] in ("pip", "pytest", "autochrome", "tensorboard")}


def test_neither_compilers_nor_caches_are_left(root: Path) -> None:
    programs = {path.name for folder in ("usr/bin", "usr/local/bin") for path in (root / folder).iterdir()}
    assert not programs & {"gcc", "cc", "g++", "clang", "make", "ld"}
    assert not list((root / "root").glob(".cache/*"))
    assert not (root / "build").exists()


def test_the_service_owns_nothing(root: Path) -> None:
    files = [path for folder in ("app", "opt/autochrome") for path in (root / folder).rglob("*")]
    assert files
    assert not [path for path in files if path.lstat().st_uid == 10001 or path.lstat().st_gid == 10001]
    modes = [path.lstat().st_mode for path in files if not path.is_symlink()]
    assert all(mode & 0o004 and not mode & 0o002 for mode in modes)  # all may read, none may write


def test_the_size_of_each_layer_is_told(podman: Podman, image: str, figures: dict[str, str]) -> None:
    layers = json.loads(podman.run("history", "--human=false", "--format=json", image))
    written = [(layer["CreatedBy"], layer["size"]) for layer in layers if layer["size"] > 0]
    for command, size in reversed(written):
        step = command.split("#(nop)")[-1].strip()
        figures[f"layer {step[:3]} {step.rpartition(' in ')[2]}"] = f"{size / 1e6:.1f} MB"
    figures["image"] = f"{sum(size for _, size in written) / 1e6:.0f} MB"
    by_folder = {command.rpartition(" in ")[2].strip(): size for command, size in written}
    assert by_folder["./model_store"] < 150e6
    assert by_folder["./"] < 1e6
