"""The service on a real socket, in this process."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from service.__main__ import Server
from service.app import create_app
from service.network.checkpoint import save_checkpoint
from service.network.colorizer import Colorizer
from service.settings import Settings
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
