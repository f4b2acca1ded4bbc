"""Podman and buildah: building the project's image, and containers of it with the limits the documentation gives."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from tests.deploy.tools import ROOT

IMAGE = "localhost/autochrome:check"

MEMORY_LIMIT = 4 * 2**30
MAX_BYTES_HELD = 1_250_000_000
"""What chart, compose and docs/operations.md give the CPU image."""

HARDENED = (
    "--read-only",
    "--read-only-tmpfs=false",  # or podman would add places to write to that Kubernetes does not have
    "--tmpfs=/tmp:size=256m",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    f"--memory={MEMORY_LIMIT}",
    f"--memory-swap={MEMORY_LIMIT}",  # none: what does not fit is killed
    "--cpus=2",
    "--pids-limit=512",
)

# A machine without systemd needs to be told that there is none, and of a limit on files it may really give.
_CONFIGURATION = """
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=20000:20000"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


class Podman:
    """The command line."""

    def __init__(self, folder: Path) -> None:
        configuration = folder / "containers.conf"
        configuration.write_text(_CONFIGURATION)
        self.environment = os.environ | {"CONTAINERS_CONF": str(configuration)}

    def run(self, *command: str, timeout_s: float = 120) -> str:
        """Runs `podman …`, or buildah, and returns what it prints; says what went wrong if something does."""
        program = () if command[0] == "buildah" else ("podman",)
        ended = subprocess.run(
            [*program, *command], capture_output=True, text=True, timeout=timeout_s, env=self.environment, cwd=ROOT
        )
        assert ended.returncode == 0, f"{command}: {ended.stdout[-4000:]}\n{ended.stderr[-4000:]}"
        return ended.stdout

    def succeeds(self, *command: str) -> bool:
        """Whether `podman …` ends with 0."""
        return subprocess.run(["podman", *command], capture_output=True, env=self.environment).returncode == 0

    def inspect(self, kind: str, name: str) -> dict[str, Any]:
        """All that podman knows of an image or container."""
        (known,) = json.loads(self.run("inspect", "--type", kind, name))
        return dict(known)

    @contextmanager
    def container(self, name: str, port: int, **settings: object) -> Iterator["Container"]:
        """The service, hardened, on a port of this machine's loopback; removed at the end."""
        values = {"host": "127.0.0.1", "port": port, "max_bytes_held": MAX_BYTES_HELD} | settings
        environment = [f"--env=AUTOCHROME_{key.upper()}={value}" for key, value in values.items()]
        named = ("--detach", "--replace", f"--name={name}", "--network=host")
        try:
            self.run("run", *named, *HARDENED, *environment, IMAGE)
            yield Container(self, name, port)
        finally:
            self.run("rm", "--force", "--ignore", "--time=0", name)


@dataclass(frozen=True)
class Container:
    """One that runs."""

    podman: Podman
    name: str
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def state(self) -> dict[str, Any]:
        return dict(self.podman.inspect("container", self.name)["State"])

    def wait_until_ready(self) -> None:
        """Asks until /readyz says 200; ends with the container at the latest."""
        while not is_ready(self.url):
            assert self.state["Running"], self.log

    @property
    def log(self) -> str:
        ended = subprocess.run(
            ["podman", "logs", self.name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=self.podman.environment
        )
        return ended.stdout.decode()

    def terminate(self) -> None:
        """SIGTERM; returns at once."""
        self.podman.run("kill", "--signal=TERM", self.name)

    def wait(self) -> int:
        """Waits for its end, for as long as Kubernetes would; the exit status."""
        return int(self.podman.run("wait", self.name, timeout_s=115))

    def memory(self) -> int:
        """Bytes that its processes hold and nothing could take back: what counts when memory is short."""
        pid = self.state["Pid"]
        groups = dict(line.split(":", 2)[1:] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines())
        if "memory" in groups:  # control groups, version 1
            folder, field = Path("/sys/fs/cgroup/memory") / groups["memory"].lstrip("/"), "total_rss"
        else:
            folder, field = Path("/sys/fs/cgroup") / groups[""].lstrip("/"), "anon"
        fields = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return int(fields[field])


def is_ready(url: str) -> bool:
    """Whether /readyz says 200; a no takes its time, since what starts needs the processor more."""
    try:
        if httpx2.get(f"{url}/readyz", timeout=5).status_code == 200:
            return True
    except httpx2.TransportError:
        pass
    time.sleep(0.5)
    return False
