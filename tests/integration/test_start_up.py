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


def test_every_bucket_of_every_backbone_has_run_before_anybody_can_connect(
    serve: Callable[..., Running], full_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[int, int]] = []
    connected: list[int] = []
    port = free_port()
    predict = CompiledColorizer.predict

    def watched(colorizer: CompiledColorizer, lightness: Tensor, hints: Tensor | None = None) -> Tensor:
        ran.append((id(colorizer), len(lightness)))
        with socket.socket() as client:
            connected.append(client.connect_ex(("127.0.0.1", port)))
        return predict(colorizer, lightness, hints)

    monkeypatch.setattr(CompiledColorizer, "predict", watched)
    running = serve(model_store=full_store, max_batch_size=3, port=port)
    colorizers = {colorizer for colorizer, _ in ran}
    assert len(colorizers) == 2
    assert {(colorizer, size) for colorizer in colorizers for size in (1, 2, 3)} == set(ran)
    assert 0 not in connected
    assert httpx2.get(f"{running.url}/readyz", timeout=TIMEOUT_S).status_code == 200
    assert running.metric("autochrome_ready") == 1
