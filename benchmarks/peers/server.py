"""A server under measurement: its processes on 127.0.0.1, from their start to their certain end."""

import http.client
import io
import math
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.peers.line import PLAIN_SETTINGS, STORE, PeerSettings, PlainSettings
from benchmarks.peers.processes import ProcessTree

T = TypeVar("T")

PATH = "/colorize"

OURS = "Autochrome"
PLAIN = "plain FastAPI"
PEERS = {
    "LitServe": "benchmarks.peers.lit",
    "BentoML": "benchmarks.peers.bento",
    "Ray Serve": "benchmarks.peers.rayserve",
    PLAIN: "benchmarks.peers.plain",
}
MODULES = {OURS: "service", **PEERS}

_START_S, _STOP_S = 120.0, 15.0

# No peer reports to its makers, none asks for a token.
_PEERS_ENVIRONMENT = {
    "BENTOML_DO_NOT_TRACK": "True",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
}


class ServerError(Exception):
    """A server did not start, or its answers are no coloured photographs."""


@dataclass(frozen=True, slots=True)
class Batches:
    """Batches run so far, and the photographs in them."""

    count: int
    photographs: int


class Server:
    """A server that is up."""

    def __init__(self, name: str, settings: PeerSettings, processes: ProcessTree) -> None:
        self.name = name
        self.port = settings.port
        self.processes = processes
        self._settings = settings
        self.start_s = math.nan
        """From the start of its process to its first answer."""

    def batches(self) -> Batches:
        """By the service's own metrics, or the peers' log of batches."""
        if self.name != OURS:
            sizes = self._settings.batches.read_bytes()
            return Batches(len(sizes), sum(sizes))
        samples = self._samples("autochrome_batch_size")
        return Batches(
            int(sum(value for name, _, value in samples if name.endswith("_count"))),
            int(sum(value for name, _, value in samples if name.endswith("_sum"))),
        )

    def loop_lag(self) -> dict[float, float]:
        """How often the service's event loop lagged by up to so many seconds, so far; empty for peers."""
        if self.name != OURS:
            return {}
        samples = self._samples("autochrome_loop_lag_seconds")
        return {float(labels["le"]): value for name, labels, value in samples if name.endswith("_bucket")}

    def colorize(self, photograph: bytes) -> bytes:
        """One answer.

        Raises:
            OSError, http.client.HTTPException: Nobody is there yet, or not for HTTP.
            ServerError: The status is not 200.
        """
        status, data = self._ask("POST", PATH, photograph)
        if status != 200:
            raise ServerError(f"{self.name} answers with {status}: {data[:200]!r}")
        return data

    def check_ready(self) -> None:
        """The service's readiness; raises what `colorize` does."""
        status, _ = self._ask("GET", "/readyz")
        if status != 200:
            raise ServerError(f"{self.name} is not ready: {status}")

    def _samples(self, family: str) -> list[tuple[str, dict[str, str], float]]:
        _, data = self._ask("GET", "/metrics")
        return [
            (sample.name, sample.labels, sample.value)
            for metric in text_string_to_metric_families(data.decode())
            if metric.name == family
            for sample in metric.samples
        ]

    def _ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, body, {"Content-Type": "image/jpeg"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


@contextmanager
def serving(
    name: str,
    backbone: str,
    photograph: bytes,
    folder: Path,
    deadline_s: float | None = None,
    plain: PlainSettings = PLAIN_SETTINGS[0],
    only: bool = True,
    asked: bool = True,
) -> Iterator[Server]:
    """Runs a server that has coloured the photograph once, and leaves no process of it behind.

    `only`: the service loads no other backbone. `asked`: else it is only known to be ready, and the service alone.

    `deadline_s` is what clients wait at most; None leaves each server's own default. `plain` is for the peer of that
    name. Logs go to the folder.

    Raises:
        ServerError: It did not come up, or what it answers is not the photograph in colour.
    """
    settings = PeerSettings(backbone, _free_port(), folder / "batches", deadline_s, plain, only)
    settings.batches.write_bytes(b"")
    log, started = folder / f"{name}.log", time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", MODULES[name]],
            cwd=Path(__file__).parents[2],
            env={**os.environ, **_environment(name, settings)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the benchmark alone, which then ends the server itself
        )
    server = Server(name, settings, ProcessTree(process.pid))
    try:
        if asked:
            _check_colored(name, _until(server, process, log, lambda: server.colorize(photograph)))
        else:
            _until(server, process, log, server.check_ready)
        server.start_s = time.monotonic() - started
        yield server
    finally:
        server.processes.end(_STOP_S)
        process.wait()


def _environment(name: str, settings: PeerSettings) -> dict[str, str]:
    if name != OURS:
        return {**_PEERS_ENVIRONMENT, **settings.to_environment()}
    environment = {
        "AUTOCHROME_PORT": str(settings.port),
        "AUTOCHROME_MODEL_STORE": str(STORE),
        "AUTOCHROME_DEFAULT_BACKBONE": settings.backbone,
    }
    if settings.only:
        environment["AUTOCHROME_BACKBONES"] = settings.backbone
    if settings.deadline_s is not None:
        environment["AUTOCHROME_REQUEST_TIMEOUT_S"] = str(settings.deadline_s)
    return environment


def _until(server: Server, process: "subprocess.Popen[bytes]", log: Path, ask: Callable[[], T]) -> T:
    """The first answer."""
    error: Exception | None = None
    end = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < end:
        try:
            return ask()
        except (OSError, http.client.HTTPException, ServerError) as not_yet:
            error = not_yet
            time.sleep(0.05)
    tail = log.read_text(errors="replace")[-2000:]
    raise ServerError(f"{server.name} did not start: {error or f'exit status {process.returncode}'}\n{tail}")


def _check_colored(name: str, answer: bytes) -> None:
    with Image.open(io.BytesIO(answer)) as image:
        image.load()
        if (image.format, image.size, image.mode) != ("JPEG", (512, 512), "RGB"):
            raise ServerError(f"{name} answers {image.format} {image.size} {image.mode}")
        rgb = np.asarray(image, np.float32)
    if float((rgb.max(axis=2) - rgb.min(axis=2)).mean()) < 2:
        raise ServerError(f"{name} answers in grey")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
