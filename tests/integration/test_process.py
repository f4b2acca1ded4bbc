"""`python -m service` as a process: how it starts, how it fails to, how it leaves."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from service.__main__ import main
from service.network.checkpoint import save_checkpoint
from service.network.colorizer import Colorizer

TIMEOUT_S = 60

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(model_store: Path) -> Iterator[Start]:
    """Starts the service with environment variables (prefix and case as in the settings' names)."""
    processes: list[subprocess.Popen[str]] = []

    def start_process(**settings: object) -> subprocess.Popen[str]:
        values = {"model_store": model_store, "device": "cpu", "max_batch_size": 4} | settings
        environment = os.environ | {f"AUTOCHROME_{key.upper()}": str(value) for key, value in values.items()}
        process = subprocess.Popen(
            [sys.executable, "-m", "service"], env=environment, stderr=subprocess.PIPE, text=True
        )
        processes.append(process)
        return process

    yield start_process
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def wait_until(process: subprocess.Popen[str], text: str) -> None:
    """Reads the log until a line holds `text`."""
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return
    raise AssertionError(f"the process ended without {text!r}")


def test_sigterm_answers_everything_in_flight_and_exits_0(start: Start, gray_jpeg: bytes) -> None:
    port = free_port()
    process = start(port=port, drain_s=1)
    wait_until(process, "Uvicorn running")
    limits = httpx2.Limits(max_connections=40)
    with (
        httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=TIMEOUT_S, limits=limits) as client,
        ThreadPoolExecutor(32) as pool,
    ):
        posts = [pool.submit(client.post, "/colorize", content=gray_jpeg) for _ in range(32)]
        while "autochrome_in_flight 32.0" not in client.get("/metrics").text:
            assert not all(post.done() for post in posts)
            if sum(post.done() for post in posts) > 0:  # too fast for us: some of them are answered already
                break
        process.send_signal(signal.SIGTERM)
        while (ready := client.get("/readyz")).status_code == 200:
            pass
        assert ready.json() == {"ok": False, "reason": "the service is draining"}
        assert client.get("/livez").status_code == 200
        # Routers may not have noticed yet, so newcomers are still served.
        assert client.post("/colorize", content=gray_jpeg).status_code == 200
        assert [post.result(TIMEOUT_S).status_code for post in posts] == [200] * 32
    _, log = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, log


def test_ctrl_c_does_not_wait_for_routers(start: Start) -> None:
    process = start(port=free_port(), drain_s=3600)
    wait_until(process, "Uvicorn running")
    process.send_signal(signal.SIGINT)
    _, log = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, log


def test_a_second_sigterm_ends_the_drain(start: Start) -> None:
    port = free_port()
    process = start(port=port, drain_s=3600)
    wait_until(process, "Uvicorn running")
    process.send_signal(signal.SIGTERM)
    while httpx2.get(f"http://127.0.0.1:{port}/readyz").status_code == 200:
        pass
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, log


def test_a_corrupt_model_stops_start_up_and_is_named(
    start: Start, tmp_path: Path, mobilenet_colorizer: Colorizer
) -> None:
    save_checkpoint(mobilenet_colorizer, tmp_path / "mobilenet_v2", "1.0.0", {})
    file = tmp_path / "mobilenet_v2" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    process = start(port=free_port(), model_store=tmp_path)
    _, log = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 3
    assert f"{file}: " in log


def test_an_empty_model_store_stops_start_up(start: Start, tmp_path: Path) -> None:
    process = start(port=free_port(), model_store=tmp_path)
    _, log = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 3
    assert "no weights for mobilenet_v2" in log


@pytest.mark.parametrize(
    ("name", "value"),
    [("port", "http"), ("backbones", "vgg16"), ("default_backbone", "resnet50"), ("max_pixels", "1000000000")],
)
def test_a_bad_setting_is_named(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(f"AUTOCHROME_{name.upper()}", value)
    assert main() == 2
    assert name in capsys.readouterr().err
