"""The base image: the registry's own, or a stand-in for it where no registry can be reached.

The stand-in is Debian's smallest root file system, with this machine's CPython in /usr/local, where the official image
has its own.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.deploy.tools import ROOT
from tests.image.podman import Podman

# What CPython's own modules are linked with.
_PACKAGES = (
    "ca-certificates,libbz2-1.0,libexpat1,libffi8,liblzma5,libncursesw6,libreadline8,libsqlite3-0,libssl3,libuuid1,"
    "netbase,tzdata,zlib1g"
)
_WHERE_PACKAGES_ARE = {"index-url", "extra-index-url", "find-links", "trusted-host", "cert", "proxy"}
_LEFT_OUT = shutil.ignore_patterns("site-packages", "test", "idlelib", "tkinter", "__pycache__", "*.a")

STAND_IN = "localhost/python:stand-in"


def find_python_image(podman: Podman, folder: Path) -> str:
    """The name of the base image: the Dockerfile's, if it is here or can be had, else the stand-in's."""
    (name,) = re.findall(r"^ARG PYTHON_IMAGE=(.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    if podman.succeeds("image", "exists", name) or podman.succeeds("pull", "--quiet", name):
        return str(name)
    if not podman.succeeds("image", "exists", STAND_IN):
        make_stand_in(podman, folder)
    return STAND_IN


def make_stand_in(podman: Podman, folder: Path) -> None:
    """Debian's root file system with this machine's CPython, as an image."""
    root = folder / "root"
    subprocess.run(
        ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={_PACKAGES}", "bookworm", str(root)], check=True
    )
    install_python(root)
    archive = folder / "root.tar"
    subprocess.run(["tar", "-C", str(root), "-cf", str(archive), "."], check=True)
    shutil.rmtree(root)
    podman.run("import", str(archive), STAND_IN, timeout_s=300)
    archive.unlink()


def install_python(root: Path) -> None:
    """This machine's CPython into `root`, where the official image has its own."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    source, target = Path(sys.base_prefix), root / "usr" / "local"
    shutil.copytree(source / "lib" / version, target / "lib" / version, symlinks=True, ignore=_LEFT_OUT)
    for library in (source / "lib").glob("libpython3*.so*"):
        shutil.copy2(library, target / "lib", follow_symlinks=False)
    shutil.copy2(source / "bin" / version, target / "bin" / version)
    for link, to in ("python3", version), ("python", "python3"):
        (target / "bin" / link).symlink_to(to)
    subprocess.run(["chroot", str(root), "ldconfig"], check=True)
    subprocess.run(["chroot", str(root), "python", "-m", "ensurepip", "--default-pip"], check=True, capture_output=True)


def pip_configuration(folder: Path) -> list[str]:
    """Options for buildah, by which pip sees in the build what it sees here: mirrors, wheels, certificates."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    found = re.findall(r"^(?:global|:env:)\.(\S+?)='(.*)'$", listed, re.MULTILINE)
    options = {name: value for name, value in found if name in _WHERE_PACKAGES_ARE}
    configuration = folder / "pip.conf"
    configuration.write_text("[global]\n" + "".join(f"{name} = {value}\n" for name, value in options.items()))
    mounts = {f"{configuration}:/etc/pip.conf:ro"}
    for word in " ".join(options.values()).split():
        path = Path(word.removeprefix("file://"))
        if path.is_absolute() and path.exists():
            # An index's pages lead to files beside its folder.
            path = path.parent if path.name == "simple" else path
            mounts.add(f"{path}:{path}:ro")
    return [f"--volume={mount}" for mount in sorted(mounts)]
