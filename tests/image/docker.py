"""A Docker engine of the checks' own, and Compose."""

import os
import subprocess
import time
from pathlib import Path

from tests.deploy.tools import COMPOSE, ROOT
from tests.image.podman import Podman


class Docker:
    """An engine with nothing in it but what is put there."""

    def __init__(self, folder: Path) -> None:
        self._socket = f"unix://{folder / 'docker.sock'}"
        self._log = (folder / "dockerd.log").open("wb")
        self._environment = os.environ | {"DOCKER_HOST": self._socket}
        options = [f"--{name}={folder / name}" for name in ("data-root", "exec-root", "pidfile")]
        # The machine's packet filter is none of its business.
        options += ["--iptables=false", "--ip6tables=false", "--storage-driver=overlay2"]
        command = ["dockerd", f"--host={self._socket}", *options]
        self._process = subprocess.Popen(command, stdout=self._log, stderr=subprocess.STDOUT)

    def wait_until_ready(self) -> None:
        """Asks until it answers."""
        while not self.succeeds("info"):
            assert self._process.poll() is None, Path(self._log.name).read_text()
            time.sleep(0.2)

    def close(self) -> None:
        """Ends the engine."""
        self._process.terminate()
        self._process.wait()
        self._log.close()

    def load(self, podman: Podman, image: str, name: str) -> None:
        """Takes an image over from podman, under the name that compose has for it."""
        with subprocess.Popen(
            ["podman", "save", "--format=docker-archive", image], stdout=subprocess.PIPE, env=podman.environment
        ) as saved:
            subprocess.run(["docker", "load", "--quiet"], stdin=saved.stdout, check=True, env=self._environment)
        assert saved.returncode == 0
        subprocess.run(["docker", "tag", image, name], check=True, env=self._environment)

    def succeeds(self, *command: str) -> bool:
        """Whether `docker …` ends with 0."""
        return subprocess.run(["docker", *command], capture_output=True, env=self._environment).returncode == 0

    def compose(self, *command: str) -> str:
        """Runs `docker compose …` on the project's file."""
        ended = subprocess.run(
            [COMPOSE, *command], capture_output=True, text=True, cwd=ROOT, env=self._environment, timeout=400
        )
        assert ended.returncode == 0, f"{ended.stderr}\n{self._logs()}"
        return ended.stdout

    def _logs(self) -> str:
        return subprocess.run(
            [COMPOSE, "logs", "--tail=30"], capture_output=True, text=True, cwd=ROOT, env=self._environment
        ).stdout
