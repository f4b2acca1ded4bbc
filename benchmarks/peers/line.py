"""The line of work that every server does for a photograph, from the service's own functions, and no server around it.

Peers and the bare loop share it, so that what differs between the servers is the serving alone.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from service.engine.choice import BackboneChoice
from service.engine.job import Job
from service.engine.order import Order
from service.imaging.formats import ImageFormat
from service.network.backbones import BackboneName
from service.network.checkpoint import Checkpoint
from service.network.compiled import CompiledColorizer
from service.network.preprocessing import INPUT_SIZE

STORE = Path(__file__).parents[2] / "model_store"

CODEC_THREADS = 2
"""As many as the service's default."""

_SIZES = (2, 4)
"""Of batches that peers have code for; larger ones are run in pieces of these."""

MAX_PIXELS = 150_000_000  # the service's own default

ORDER = Order(BackboneChoice.MOBILENET_V2, ImageFormat.JPEG)
"""What a request asks for that asks for nothing; the choice of the network is not read here."""


@dataclass(frozen=True, slots=True)
class PlainSettings:
    """Of the plain FastAPI route."""

    threads: int
    lock: bool
    """Around a network that computes on all cores; without it each thread computes on one."""

    def __str__(self) -> str:
        return f"{self.threads} threads, {'a lock around the network' if self.lock else 'no lock'}"


PLAIN_SETTINGS = [PlainSettings(threads, lock) for threads in (1, 2, 4) for lock in (True, False)]


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """What the benchmark tells a peer; in the environment, because most peers start processes of their own."""

    backbone: str
    port: int
    batches: Path
    """A file that gets one byte for every batch: its size."""
    deadline_s: float | None
    """Set for the overload run alone: what a client waits at most, for the peers that can make use of it."""
    plain: PlainSettings = PLAIN_SETTINGS[0]
    only: bool = True
    """Whether the service loads the one backbone alone."""

    @classmethod
    def from_environment(cls) -> "PeerSettings":
        """Reads what `to_environment` wrote, in this process or in one that started it."""
        deadline = os.environ.get("BENCHMARK_DEADLINE_S")
        return cls(
            os.environ["BENCHMARK_BACKBONE"],
            int(os.environ["BENCHMARK_PORT"]),
            Path(os.environ["BENCHMARK_BATCHES"]),
            float(deadline) if deadline else None,
            PlainSettings(int(os.environ["BENCHMARK_THREADS"]), os.environ["BENCHMARK_LOCK"] == "True"),
        )

    def to_environment(self) -> dict[str, str]:
        """The variables for a peer's process."""
        return {
            "BENCHMARK_BACKBONE": self.backbone,
            "BENCHMARK_PORT": str(self.port),
            "BENCHMARK_BATCHES": str(self.batches),
            "BENCHMARK_DEADLINE_S": "" if self.deadline_s is None else str(self.deadline_s),
            "BENCHMARK_THREADS": str(self.plain.threads),
            "BENCHMARK_LOCK": str(self.plain.lock),
        }


class Network:
    """The compiled network, warmed up; for as many threads at a time as it is made for."""

    def __init__(
        self,
        backbone: str,
        max_batch_size: int,
        batches: Path | None = None,
        cores: int | None = None,
        at_once: int = 1,
    ) -> None:
        """`cores` that a photograph is computed on (None: all), while `at_once` - 1 others are."""
        name = BackboneName(backbone)
        self._batches: int | None = None
        self._colorizer = CompiledColorizer(Checkpoint.load(STORE / name, name).colorizer, "auto", cores, at_once)
        for size in _SIZES:
            if 1 < size <= max_batch_size:
                self._colorizer.prepare(size, self._colorizer.cores)
        for size in range(1, max_batch_size + 1):
            self.predict([torch.full((1, INPUT_SIZE, INPUT_SIZE), 50.0)] * size)
        if batches is not None:
            # One byte a batch, appended: whole and in one place whichever process writes it.
            self._batches = os.open(batches, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def predict(self, lightness: Sequence[Tensor]) -> list[Tensor]:
        """L* (1, 224, 224) of each picture → its a*, b* and expected error (3, 224, 224)."""
        if self._batches is not None:
            os.write(self._batches, bytes([len(lightness)]))
        # numpy stacks, as in the service: torch would start a team of threads for it, beside OpenVINO's.
        batch = torch.from_numpy(np.stack([picture.numpy() for picture in lightness]))
        return list(self._colorizer.predict_with_error(batch))


def read(data: bytes) -> tuple[Job, Tensor]:
    """The work on a file of one picture, and what the network is shown of it."""
    job = Job(data, ORDER, MAX_PIXELS)
    (canvas,) = job.read()
    return job, canvas


def write(job: Job, answer: Tensor) -> bytes:
    """The photograph in these colours, as JPEG."""
    painting = job.prepare([answer])
    painting.paint()
    painting.wait()
    return bytes(job.finish())


def codec_threads(name: str) -> ThreadPoolExecutor:
    """Threads for `read` and `write`; one thread of torch's own in each, as in the service."""
    return ThreadPoolExecutor(CODEC_THREADS, name, torch.set_num_threads, (1,))
