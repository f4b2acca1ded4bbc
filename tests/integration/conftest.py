"""The service on a real socket, in this process."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from PIL import Image, ImageEnhance
from torch import Tensor

from service.__main__ import Server
from service.app import create_app
from service.engine.costs import BatchCosts
from service.engine.cpu import CpuDevice
from service.engine.device import buckets
from service.network.backbones import BackboneName
from service.network.checkpoint import save_checkpoint
from service.network.colorizer import Colorizer
from service.network.compiled import CompiledColorizer
from service.settings import Settings
from tests.pictures import to_bytes
from tests.scrape import sample

TIMEOUT_S = 30


@dataclass(frozen=True)
class Running:
    """A server that accepts connections."""

    server: Server
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def metric(self, name: str, labels: str = "") -> float:
        """A sample of /metrics as a scrape sees it; `labels` as they are printed."""
        return sample(httpx2.get(f"{self.url}/metrics", timeout=TIMEOUT_S).text, f"{name}{labels} ")


class _AnnouncingServer(Server):
    """Says when it listens."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(create_app(settings), settings)
        self.listening = threading.Event()

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        await super().startup(sockets)  # type: ignore[arg-type]
        self.listening.set()


@pytest.fixture(scope="session")
def full_store(
    tmp_path_factory: pytest.TempPathFactory, mobilenet_colorizer: Colorizer, resnet_colorizer: Colorizer
) -> Path:
    """A store with both variants; do not write to it."""
    store = tmp_path_factory.mktemp("full_store")
    save_checkpoint(mobilenet_colorizer, store / "mobilenet_v2", "1.0.0", {})
    save_checkpoint(resnet_colorizer, store / "resnet101", "2.0.0", {})
    return store


@pytest.fixture
def serve(make_settings: Callable[..., Settings]) -> Iterator[Callable[..., Running]]:
    """Starts the service with some settings; it is stopped after the test."""
    running: list[tuple[Server, threading.Thread]] = []

    def start(**changes: object) -> Running:
        server = _AnnouncingServer(make_settings(**changes))
        thread = threading.Thread(target=server.run)
        thread.start()
        running.append((server, thread))
        assert server.listening.wait(TIMEOUT_S)
        return Running(server, server.servers[0].sockets[0].getsockname()[1])

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join(TIMEOUT_S)
        assert not thread.is_alive()


@contextmanager
def connected(running: Running) -> Iterator[httpx2.Client]:
    """A client with room for many connections."""
    limits = httpx2.Limits(max_connections=100)
    with httpx2.Client(base_url=running.url, timeout=TIMEOUT_S, limits=limits) as client:
        yield client


class Gate:
    """Stands before the network: batches wait for `open`, and one picture is poison."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()
        self.sizes: list[int] = []
        self.batch_s: float | None = None
        """What a batch costs according to warm-up, whatever its size, so that full ones pay, and so that all cores for
        one photograph do not; None: what it takes."""

    def pass_through(self, lightness: Tensor) -> None:
        """Waits, and counts the batch."""
        self.reached.set()
        assert self.opened.wait(TIMEOUT_S)
        self.sizes.append(len(lightness))
        if any(one.max() - one.min() < 0.01 for one in lightness):
            raise ValueError("a flat picture is poison")


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """Closed once the service is warm: set `opened` to let batches through."""
    gate = Gate()
    predict, warm_up = CompiledColorizer.predict_with_error, CpuDevice.warm_up

    def gated(
        colorizer: CompiledColorizer, lightness: Tensor, hints: Tensor | None = None, cores: int | None = None
    ) -> Tensor:
        gate.pass_through(lightness)
        return predict(colorizer, lightness, hints, cores)

    def warm_up_then_gate(device: CpuDevice, max_batch_size: int) -> tuple[BatchCosts, BatchCosts]:
        costs, costs_alone = warm_up(device, max_batch_size)
        monkeypatch.setattr(CompiledColorizer, "predict_with_error", gated)
        if gate.batch_s is not None:
            costs = BatchCosts({name: dict.fromkeys(buckets(max_batch_size), gate.batch_s) for name in BackboneName})
            costs_alone = BatchCosts({name: {1: 2 * gate.batch_s} for name in BackboneName})
        return costs, costs_alone

    monkeypatch.setattr(CpuDevice, "warm_up", warm_up_then_gate)
    yield gate
    gate.opened.set()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(65) as pool:
        yield pool


def photos(gray_photo: Image.Image, count: int) -> list[bytes]:
    """Different pictures, so that a mixed-up answer shows."""
    return [to_bytes(ImageEnhance.Brightness(gray_photo).enhance(0.4 + 0.01 * i), "PNG") for i in range(count)]


def wait_for(running: Running, metric: str, labels: str, value: float) -> None:
    """Asks until a metric has a value; every question is a round trip, so this never spins idle."""
    for _ in range(10_000):
        if running.metric(metric, labels) == value:
            return
    raise AssertionError(f"{metric}{labels} never became {value}")
