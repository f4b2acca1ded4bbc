"""Many clients at once on real sockets; the device waits for the test's word."""

import socket
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image
from torch import Tensor

from service.imaging.photograph import Original, Photograph
from service.imaging.writing.sheets import Sheet
from service.network.compiled import CompiledColorizer
from tests.integration.conftest import TIMEOUT_S, Gate, Running, connected, photos, wait_for
from tests.pictures import from_bytes, to_bytes

Serve = Callable[..., Running]


def test_64_at_once_are_batched_and_each_gets_its_own_answer(
    serve: Serve, gate: Gate, pool: ThreadPoolExecutor, gray_photo: Image.Image
) -> None:
    gate.batch_s = 0.1
    running = serve(max_batch_size=8)
    bodies = photos(gray_photo, 64)
    flat = to_bytes(Image.new("L", gray_photo.size, 90), "PNG")
    with connected(running) as client:

        def post(body: bytes) -> httpx2.Response:
            return client.post("/colorize", content=body)

        first = pool.submit(post, bodies[0])
        assert gate.reached.wait(TIMEOUT_S)
        rest: list[Future[httpx2.Response]] = [pool.submit(post, body) for body in [*bodies[1:], flat]]
        wait_for(running, "autochrome_queue_depth", '{backbone="mobilenet_v2"}', 64)
        gate.opened.set()
        *answers, poisoned = [future.result(TIMEOUT_S) for future in [first, *rest]]
        assert poisoned.status_code == 500
        assert poisoned.json()["type"] == "urn:autochrome:problem:inference-failed"
        assert [answer.status_code for answer in answers] == [200] * 64
        batches = running.metric("autochrome_batch_size_count", '{backbone="mobilenet_v2"}')
        assert running.metric("autochrome_batch_size_sum", '{backbone="mobilenet_v2"}') == 64
        assert 64 / batches > 4  # with the poison, not all are full
        for body, answer in zip(bodies, answers, strict=True):
            alone = np.asarray(from_bytes(post(body).content)).astype(int)
            together = np.asarray(from_bytes(answer.content)).astype(int)
            assert np.abs(together - alone).max() <= 1


def test_a_client_that_leaves_frees_its_place(
    serve: Serve, gate: Gate, pool: ThreadPoolExecutor, gray_jpeg: bytes
) -> None:
    running = serve()
    with connected(running) as client:
        first = pool.submit(client.post, "/colorize", content=gray_jpeg)
        assert gate.reached.wait(TIMEOUT_S)
        head = f"POST /colorize HTTP/1.1\r\nHost: x\r\nContent-Length: {len(gray_jpeg)}\r\n\r\n".encode()
        with socket.create_connection(("127.0.0.1", running.port), TIMEOUT_S) as leaving:
            leaving.sendall(head + gray_jpeg)
            wait_for(running, "autochrome_queue_depth", '{backbone="mobilenet_v2"}', 1)
        # The device is still busy: the entry goes because its client went, not because its turn came.
        wait_for(running, "autochrome_queue_depth", '{backbone="mobilenet_v2"}', 0)
        wait_for(running, "autochrome_requests_total", '{backbone="mobilenet_v2",code="499"}', 1)
        assert not first.done()
        gate.opened.set()
        assert first.result(TIMEOUT_S).status_code == 200
        assert gate.sizes == [1]


def test_a_client_that_leaves_takes_both_halves_of_its_blend_along(
    serve: Serve, gate: Gate, pool: ThreadPoolExecutor, gray_jpeg: bytes, full_store: Path
) -> None:
    running = serve(model_store=full_store)
    with connected(running) as client:
        first = pool.submit(client.post, "/colorize", content=gray_jpeg)
        assert gate.reached.wait(TIMEOUT_S)
        head = f"POST /colorize?backbone=blend HTTP/1.1\r\nHost: x\r\nContent-Length: {len(gray_jpeg)}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", running.port), TIMEOUT_S) as leaving:
            leaving.sendall(head.encode() + gray_jpeg)
            for backbone in ("mobilenet_v2", "resnet101"):
                wait_for(running, "autochrome_queue_depth", f'{{backbone="{backbone}"}}', 1)
            assert running.metric("autochrome_in_flight") == 2
        for backbone in ("mobilenet_v2", "resnet101"):
            wait_for(running, "autochrome_queue_depth", f'{{backbone="{backbone}"}}', 0)
        wait_for(running, "autochrome_requests_total", '{backbone="blend",code="499"}', 1)
        assert not first.done()
        gate.opened.set()
        assert first.result(TIMEOUT_S).status_code == 200
        assert gate.sizes == [1]


def test_a_blend_has_one_deadline_for_both_halves(serve: Serve, gate: Gate, gray_jpeg: bytes, full_store: Path) -> None:
    running = serve(model_store=full_store, request_timeout_s=2)
    with connected(running) as client:
        response = client.post("/colorize?backbone=blend", content=gray_jpeg)
        assert response.status_code == 504
        assert response.json()["type"] == "urn:autochrome:problem:deadline-exceeded"
        for backbone in ("mobilenet_v2", "resnet101"):
            assert running.metric("autochrome_queue_depth", f'{{backbone="{backbone}"}}') == 0
        wait_for(running, "autochrome_requests_total", '{backbone="blend",code="504"}', 1)


def test_a_client_that_leaves_while_uploading_is_counted(serve: Serve, gray_jpeg: bytes) -> None:
    running = serve()
    head = f"POST /colorize HTTP/1.1\r\nHost: x\r\nContent-Length: {len(gray_jpeg)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", running.port), TIMEOUT_S) as leaving:
        leaving.sendall(head + gray_jpeg[:100])
        wait_for(running, "autochrome_in_flight", "", 1)
    wait_for(running, "autochrome_requests_total", '{backbone="mobilenet_v2",code="499"}', 1)
    assert running.metric("autochrome_in_flight") == 0


def test_a_deadline_is_answered_while_the_device_is_busy(
    serve: Serve, gate: Gate, pool: ThreadPoolExecutor, gray_jpeg: bytes
) -> None:
    running = serve(request_timeout_s=2)
    with connected(running) as client:
        response = client.post("/colorize", content=gray_jpeg)
        assert gate.reached.is_set()  # it is at the device, and stays there
        assert response.status_code == 504
        assert response.json()["type"] == "urn:autochrome:problem:deadline-exceeded"


def test_an_upload_has_a_deadline_of_its_own(serve: Serve, gray_jpeg: bytes) -> None:
    running = serve(upload_timeout_s=0.2)
    head = f"POST /colorize HTTP/1.1\r\nHost: x\r\nContent-Length: {len(gray_jpeg)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", running.port), TIMEOUT_S) as slow:
        slow.sendall(head + gray_jpeg[:100])
        answer = slow.recv(65536)
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_finished_photographs_do_not_wait_behind_newcomers(
    serve: Serve, pool: ThreadPoolExecutor, gray_jpeg: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest goes first: what has been through the network is written before a newcomer is decoded."""
    running = serve(lanes=1)
    order: list[str] = []
    predict = CompiledColorizer.predict_with_error

    decode, finish = Original.decode, Sheet.finish

    def decode_and_tell(original: Original) -> Photograph:
        order.append("decode")
        return decode(original)

    def finish_and_tell(sheet: Sheet) -> memoryview:
        order.append("finish")
        return finish(sheet)

    def predict_while_another_comes(*args: Any) -> Tensor:
        monkeypatch.setattr(CompiledColorizer, "predict_with_error", predict)
        pending.append(pool.submit(client.post, "/colorize", content=gray_jpeg))
        wait_for(running, "autochrome_queue_depth", '{backbone="mobilenet_v2"}', 1)
        return predict(*args)

    monkeypatch.setattr(Original, "decode", decode_and_tell)
    monkeypatch.setattr(Sheet, "finish", finish_and_tell)
    monkeypatch.setattr(CompiledColorizer, "predict_with_error", predict_while_another_comes)
    pending: list[Future[httpx2.Response]] = []
    with connected(running) as client:
        assert client.post("/colorize", content=gray_jpeg).status_code == 200
        assert pending[0].result(TIMEOUT_S).status_code == 200
    assert order == ["decode", "finish", "decode", "finish"]


def test_a_dead_worker_turns_liveness_red_and_nothing_hangs(
    serve: Serve, gray_jpeg: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = serve()

    def die(*_args: object) -> None:
        raise SystemExit

    monkeypatch.setattr("service.network.compiled.CompiledColorizer.predict_with_error", die)
    with connected(running) as client:
        assert client.get("/livez").status_code == 200
        for _ in range(2):
            response = client.post("/colorize", content=gray_jpeg)
            assert response.status_code == 503
            assert response.json()["type"] == "urn:autochrome:problem:worker-dead"
        wait_for(running, "autochrome_ready", "", 0)
        for path in ("/livez", "/readyz"):
            health = client.get(path)
            assert health.status_code == 503
            assert health.json() == {"ok": False, "reason": "the device worker has died"}
