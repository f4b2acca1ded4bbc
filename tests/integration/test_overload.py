"""More clients than the service can do with, over a real socket: those within are served, the others told when to come.

The device waits for the test's word, and costs what the test says, so that what must be refused is known exactly.
"""

import socket
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress

import httpx2
import pytest
from PIL import Image

from service.imaging.formats import ImageFormat
from service.imaging.photograph import inspect
from service.imaging.writing.answer import Encoding
from service.settings import BYTES_BESIDE_PIXELS, LEAST_BYTES_PER_PIXEL
from tests.integration.conftest import TIMEOUT_S, Gate, Running, connected, photos, wait_for
from tests.pictures import to_bytes

Serve = Callable[..., Running]

QUEUE = '{backbone="mobilenet_v2"}'


def is_refused(response: httpx2.Response, problem: str) -> bool:
    """Whether it says what to do, as a 429 must."""
    assert response.json()["type"] == f"urn:autochrome:problem:{problem}"
    return response.status_code == 429 and int(response.headers["retry-after"]) >= 1


def test_whoever_is_too_many_is_refused_at_once_and_nobody_else_is(
    serve: Serve, gate: Gate, pool: ThreadPoolExecutor, gray_photo: Image.Image
) -> None:
    gate.batch_s = 100
    running = serve(max_batch_size=1, max_queue_wait_s=1050, request_timeout_s=3600)
    bodies = photos(gray_photo, 40)
    with connected(running) as client:
        posts: list[Future[httpx2.Response]] = [
            pool.submit(client.post, "/colorize?format=png", content=body) for body in bodies
        ]
        # The device does not move, and yet 29 are answered: with ten before it, one waits 1000 s (and a moment for
        # decoding and writing), with eleven 1100.
        done: set[Future[httpx2.Response]] = set()
        while len(done) < 29:
            finished, _ = wait(set(posts) - done, TIMEOUT_S, FIRST_COMPLETED)
            assert finished
            done |= finished
        assert all(is_refused(post.result(), "queue-full") for post in done)
        assert {post.result().headers["retry-after"] for post in done} <= {"50", "51"}
        wait_for(running, "autochrome_queue_depth", QUEUE, 10)
        # Eleven before it, so a newcomer would wait 1100 s: what admission goes by is what autoscalers see.
        assert running.metric("autochrome_predicted_wait_seconds") == pytest.approx(1100, abs=1)
        assert running.metric("autochrome_rejections_total", '{reason="queue_full"}') == 29
        assert running.metric("autochrome_in_flight") == 11
        # Those in line have not noticed.
        for path in ("/livez", "/readyz"):
            assert client.get(path).status_code == 200
        gate.opened.set()
        served = [(body, post) for body, post in zip(bodies, posts, strict=True) if post not in done]
        answers = [post.result(TIMEOUT_S) for _, post in served]
        assert [answer.status_code for answer in answers] == [200] * 11
        assert running.metric("autochrome_requests_total", '{backbone="mobilenet_v2",code="200"}') == 11
        assert running.metric("autochrome_requests_total", '{backbone="mobilenet_v2",code="429"}') == 29
        for metric in ("autochrome_in_flight", "autochrome_bytes_held"):
            wait_for(running, metric, "", 0)
        # The line is short again; and each got its own picture.
        for (body, _), answer in zip(served, answers, strict=True):
            assert client.post("/colorize?format=png", content=body).content == answer.content


def test_the_wait_is_bounded_by_half_of_the_deadline_as_well(
    serve: Serve, gate: Gate, pool: ThreadPoolExecutor, gray_jpeg: bytes
) -> None:
    gate.batch_s = 100
    running = serve(max_batch_size=1, max_queue_wait_s=1000, request_timeout_s=500)
    with connected(running) as client:
        first = pool.submit(client.post, "/colorize", content=gray_jpeg)
        assert gate.reached.wait(TIMEOUT_S)
        rest = [pool.submit(client.post, "/colorize", content=gray_jpeg) for _ in range(2)]
        wait_for(running, "autochrome_queue_depth", QUEUE, 2)
        refused = client.post("/colorize", content=gray_jpeg)
        assert is_refused(refused, "queue-full")
        # 300 s of work and a moment for decoding and writing, of which 250 may be waited for.
        assert refused.headers["retry-after"] in ("50", "51")
        gate.opened.set()
        assert [post.result(TIMEOUT_S).status_code for post in [first, *rest]] == [200] * 3


def test_a_refusal_comes_before_the_upload(
    serve: Serve, gate: Gate, pool: ThreadPoolExecutor, gray_jpeg: bytes
) -> None:
    gate.batch_s = 100
    running = serve(max_queue_wait_s=1)
    with connected(running) as client:
        first = pool.submit(client.post, "/colorize", content=gray_jpeg)
        assert gate.reached.wait(TIMEOUT_S)
        # A body that would be refused as well, if it were looked at.
        assert is_refused(client.post("/colorize", content=b"no picture"), "queue-full")
        gate.opened.set()
        assert first.result(TIMEOUT_S).status_code == 200


def test_memory_is_held_from_the_upload_to_the_answer_and_bounded(
    serve: Serve, gate: Gate, pool: ThreadPoolExecutor, gray_jpeg: bytes
) -> None:
    original, encoding = inspect(gray_jpeg, 160 * 120), Encoding(ImageFormat.JPEG, 8)
    written = encoding.memory_bytes(original.pixels, transparent=False)
    need = len(gray_jpeg) + original.kept_bytes + max(original.decoder_bytes, written)
    largest = 160 * 120 * LEAST_BYTES_PER_PIXEL + BYTES_BESIDE_PIXELS + len(gray_jpeg)
    held = 2 * need + len(gray_jpeg)
    assert held >= largest
    gate.batch_s = 0.1
    # Three lanes: two are in the network, and one reads headers.
    running = serve(lanes=3, max_pixels=160 * 120, max_upload_bytes=len(gray_jpeg), max_bytes_held=held)
    with connected(running) as client:
        posts = [pool.submit(client.post, "/colorize", content=gray_jpeg) for _ in range(2)]
        wait_for(running, "autochrome_bytes_held", "", 2 * need)
        assert gate.reached.wait(TIMEOUT_S)
        refused = client.post("/colorize", content=gray_jpeg)
        assert is_refused(refused, "memory-full")
        assert running.metric("autochrome_rejections_total", '{reason="memory_full"}') == 1
        # What its own bytes are to blame for is told first, and takes no room.
        assert client.post("/colorize", content=gray_jpeg[:20]).status_code == 422
        gate.opened.set()
        assert [post.result(TIMEOUT_S).status_code for post in posts] == [200, 200]
        wait_for(running, "autochrome_bytes_held", "", 0)
        assert client.post("/colorize", content=gray_jpeg).status_code == 200


def test_uploads_under_way_count(serve: Serve, gray_jpeg: bytes) -> None:
    running = serve()
    head = f"POST /colorize HTTP/1.1\r\nHost: x\r\nContent-Length: {len(gray_jpeg)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", running.port), TIMEOUT_S) as slow:
        slow.sendall(head + gray_jpeg[:1000])
        wait_for(running, "autochrome_bytes_held", "", 1000)
    wait_for(running, "autochrome_bytes_held", "", 0)


def test_answers_that_nobody_takes_count_and_their_clients_are_dropped(serve: Serve, gray_photo: Image.Image) -> None:
    """Else a client that never reads would keep its answer in memory, and its connection, for ever."""
    running = serve(write_timeout_s=0.5)
    body = to_bytes(Image.effect_noise((3000, 3000), 100), "PNG")  # an answer beyond what the kernel's buffers hold
    head = f"POST /colorize?format=png HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", running.port), TIMEOUT_S) as deaf:
        deaf.sendall(head + body)
        wait_for(running, "autochrome_in_flight", "", 1)
        wait_for(running, "autochrome_in_flight", "", 0)
        wait_for(running, "autochrome_bytes_held", "", 0)
        taken = 0
        with suppress(ConnectionResetError):
            for data in iter(lambda: deaf.recv(2**20), b""):
                taken += len(data)
    # What came is cut off.
    with connected(running) as client:
        assert taken < len(client.post("/colorize?format=png", content=body).content)
