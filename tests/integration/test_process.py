"""`python -m service` as a process: how it starts, how it fails to, how it leaves."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from signal import SIGINT, SIGTERM

import httpx2
import pytest
import torch

from service.__main__ import main
from service.network.checkpoint import save_checkpoint
from service.network.colorizer import Colorizer
from service.settings import Settings
from tests.processes import catches, free_port

TIMEOUT_S = 60


@dataclass(frozen=True)
class Process:
    """The service, its log going to a file: a pipe that nobody empties would stop it."""

    popen: subprocess.Popen[bytes]
    log: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_until_ready(self) -> None:
        """Asks until it answers; ends with the process at the latest."""
        # One client for all: making one takes so much of a core that the service would warm up half as fast.
        with httpx2.Client(base_url=self.url) as client:
            while self.popen.poll() is None:
                try:
                    if client.get("/readyz").status_code == 200:
                        return
                except httpx2.TransportError:
                    os.sched_yield()
        raise AssertionError(self.log.read_text())

    def wait_until_draining(self) -> None:
        """Asks until /readyz tells of the signal."""
        while (ready := httpx2.get(f"{self.url}/readyz")).status_code == 200:
            pass
        assert ready.json() == {"ok": False, "reason": "the service is draining"}

    def end(self) -> int:
        """Waits for the end; the exit status."""
        return self.popen.wait(TIMEOUT_S)


Start = Callable[..., Process]


@pytest.fixture
def start(model_store: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts the service with settings, given by the names of their fields."""
    processes: list[Process] = []

    def start_process(**settings: object) -> Process:
        port = free_port()
        values = {"model_store": model_store, "device": "cpu", "max_batch_size": 4, "port": port} | settings
        environment = os.environ | {f"AUTOCHROME_{key.upper()}": str(value) for key, value in values.items()}
        log = tmp_path / f"{len(processes)}.log"
        with log.open("wb") as stream:
            popen = subprocess.Popen([sys.executable, "-m", "service"], env=environment, stderr=stream)
        processes.append(Process(popen, log, port))
        return processes[-1]

    yield start_process
    for process in processes:
        process.popen.kill()
        process.popen.wait()


def test_sigterm_answers_everything_in_flight_and_exits_0(start: Start, gray_jpeg: bytes) -> None:
    process = start(drain_s=3600)
    process.wait_until_ready()
    head = f"POST /colorize HTTP/1.1\r\nHost: x\r\nContent-Length: {len(gray_jpeg)}\r\n\r\n".encode()
    with ExitStack() as stack:
        client = stack.enter_context(httpx2.Client(base_url=process.url, timeout=TIMEOUT_S))
        address = ("127.0.0.1", process.port)
        uploads = [stack.enter_context(socket.create_connection(address, TIMEOUT_S)) for _ in range(32)]
        # All but the last byte, so that they stay in flight for as long as the test wants.
        for upload in uploads:
            upload.sendall(head + gray_jpeg[:-1])
        while "autochrome_in_flight 32.0" not in client.get("/metrics").text:
            pass
        process.popen.send_signal(SIGTERM)
        process.wait_until_draining()
        assert client.get("/livez").status_code == 200
        # A kept connection would bring its next request here, maybe in the moment in which it is closed.
        assert client.get("/livez").headers["connection"] == "close"
        # But to close on a body that was not read would cut off the answer that says why.
        refused = client.post("/colorize?quality=0", content=bytes(5_000_000))
        assert refused.status_code == 422
        assert "connection" not in refused.headers
        # Routers may not have noticed yet, so a newcomer is still taken in.
        assert client.post("/colorize", content=gray_jpeg).status_code == 200
        for upload in uploads:
            upload.sendall(gray_jpeg[-1:])
        assert [upload.recv(12) for upload in uploads] == [b"HTTP/1.1 200"] * 32
    process.popen.send_signal(SIGTERM)  # a second one ends the drain delay
    assert process.end() == 0, process.log.read_text()


def test_an_upload_in_progress_at_sigterm_is_answered(start: Start, gray_jpeg: bytes) -> None:
    process = start(drain_s=0)
    process.wait_until_ready()
    head = f"POST /colorize HTTP/1.1\r\nHost: x\r\nContent-Length: {len(gray_jpeg)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", process.port), TIMEOUT_S) as uploading:
        uploading.sendall(head + gray_jpeg[:100])
        while "autochrome_in_flight 1.0" not in httpx2.get(f"{process.url}/metrics").text:
            pass
        process.popen.send_signal(SIGTERM)
        while process.popen.poll() is None:  # it listens no more, yet waits for this upload
            try:
                socket.create_connection(("127.0.0.1", process.port), TIMEOUT_S).close()
            except ConnectionError:  # refused, or reset in the moment of closing
                break
        uploading.sendall(gray_jpeg[100:])
        assert uploading.recv(65536).startswith(b"HTTP/1.1 200 ")
        while uploading.recv(65536):
            pass
    assert process.end() == 0, process.log.read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_sigterm_while_it_starts_ends_it_at_once(start: Start) -> None:
    # As a container's first process it is deaf to the signal until there is a handler.
    process = start()
    while not catches(process.popen.pid, SIGTERM):
        assert process.popen.poll() is None
    process.popen.send_signal(SIGTERM)
    assert process.end() == 0
    assert process.log.read_text() == ""  # it had not begun to load anything


def test_ctrl_c_does_not_wait_for_routers(start: Start) -> None:
    process = start(drain_s=3600)
    process.wait_until_ready()
    process.popen.send_signal(SIGINT)
    assert process.end() == 0, process.log.read_text()


def last_message(process: Process) -> str:
    """Of the log, which operators look at first; nothing else in it may be a traceback."""
    log = process.log.read_text()
    assert "Traceback" not in log
    message = json.loads(log.splitlines()[-1])["message"]
    assert isinstance(message, str)
    return message


def test_a_taken_port_is_told_before_anything_is_loaded(start: Start) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        process = start(port=port)
        assert process.end() == 3
    assert last_message(process) == f"cannot listen on 127.0.0.1:{port}: Address already in use"
    assert len(process.log.read_text().splitlines()) == 1


def test_a_corrupt_model_stops_start_up_and_is_named(
    start: Start, tmp_path: Path, mobilenet_colorizer: Colorizer
) -> None:
    save_checkpoint(mobilenet_colorizer, tmp_path / "mobilenet_v2", "1.0.0", {})
    file = tmp_path / "mobilenet_v2" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    process = start(model_store=tmp_path)
    assert process.end() == 3
    assert f"start-up failed: {file}: " in last_message(process)


def test_an_empty_model_store_stops_start_up(start: Start, tmp_path: Path) -> None:
    process = start(model_store=tmp_path)
    assert process.end() == 3
    assert "start-up failed: no weights for mobilenet_v2" in last_message(process)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_stops_start_up(start: Start) -> None:
    process = start(device="cuda")
    assert process.end() == 3
    cause = "AUTOCHROME_DEVICE is cuda, but torch finds no GPU; use auto or cpu"
    assert last_message(process) == f"start-up failed: {cause}"


@pytest.mark.parametrize(
    ("name", "value"),
    [("port", "http"), ("backbones", "vgg16"), ("default_backbone", "resnet50"), ("max_pixels", "1000000000")],
)
def test_a_bad_setting_is_named(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(f"AUTOCHROME_{name.upper()}", value)
    assert main([]) == 2
    assert f"error in the settings: AUTOCHROME_{name.upper()}: " in capsys.readouterr().err


@pytest.mark.parametrize(("argument", "status"), [("--help", 0), ("--version", 0), ("--port", 2)])
def test_arguments_never_start_a_server(argument: str, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([argument])
    assert left.value.code == status
    output = capsys.readouterr()
    said = output.out + output.err
    assert said == f"autochrome {version('autochrome')}\n" if argument == "--version" else "usage: python -m" in said


def test_help_has_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    output = capsys.readouterr().out
    assert all(f"AUTOCHROME_{name.upper()}=" in output for name in Settings.model_fields)
