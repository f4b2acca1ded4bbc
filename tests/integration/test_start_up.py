"""What has happened before the first client can come."""

import socket
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from torch import Tensor

from service.network.compiled import CompiledColorizer
from tests.integration.conftest import TIMEOUT_S, Running
from tests.processes import free_port


def test_every_network_has_run_on_one_core_and_on_all_before_anybody_can_connect(
    serve: Callable[..., Running], full_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: set[tuple[int, int, int | None]] = set()
    connected: list[int] = []
    port = free_port()
    predict = CompiledColorizer.predict_with_error

    def watched(
        colorizer: CompiledColorizer, lightness: Tensor, hints: Tensor | None = None, cores: int | None = None
    ) -> Tensor:
        ran.add((id(colorizer), len(lightness), cores))
        with socket.socket() as client:
            connected.append(client.connect_ex(("127.0.0.1", port)))
        return predict(colorizer, lightness, hints, cores)

    monkeypatch.setattr(CompiledColorizer, "predict_with_error", watched)
    running = serve(model_store=full_store, max_batch_size=2, lanes=2, port=port)
    colorizers = {colorizer for colorizer, _, _ in ran}
    assert len(colorizers) == 2
    assert ran == {(colorizer, *way) for colorizer in colorizers for way in ((1, 1), (2, 1), (1, 2))}
    assert 0 not in connected
    assert httpx2.get(f"{running.url}/readyz", timeout=TIMEOUT_S).status_code == 200
    assert running.metric("autochrome_ready") == 1


def test_what_was_measured_and_chosen_is_told(serve: Callable[..., Running]) -> None:
    running = serve(lanes=2)
    (backbone, *_) = httpx2.get(f"{running.url}/backbones", timeout=TIMEOUT_S).json()["backbones"]
    seconds = {int(size): value for size, value in backbone["batch_seconds"].items()}
    assert min(seconds, key=lambda size: seconds[size] / size) == backbone["batch_size"]
    assert backbone["cores_alone"] == 2
    assert running.metric("autochrome_chosen_batch_size", '{backbone="mobilenet_v2"}') == backbone["batch_size"]
