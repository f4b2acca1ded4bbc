"""The memory along a request's way: leased before anything is decoded, given back when nothing holds it any more."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from PIL import Image

from service.engine.admission import Stage
from service.engine.errors import DeadlineError, InferenceError, MemoryFullError
from service.engine.order import Order
from service.imaging.errors import BrokenImageError, TooManyPixelsError, UnsupportedFormatError
from service.imaging.formats import ImageFormat
from service.imaging.photograph import Original, inspect
from service.imaging.writing.answer import Encoding
from service.imaging.writing.sheets import Sheet
from tests.pictures import to_bytes
from tests.unit.engine.gated_device import TIMEOUT_S, GatedDevice
from tests.unit.engine.lane_work import submit
from tests.unit.engine.studio import MOBILENET, Coloring, Studio

pytestmark = pytest.mark.anyio

LAST = float("inf")
"""Younger than any request."""


def needed(data: bytes) -> int:
    """What the photograph takes while it is in work."""
    original, encoding = inspect(data, 10**6), Encoding(ImageFormat.PNG, 8)
    written = encoding.memory_bytes(original.pixels, transparent=False)
    return len(data) + original.kept_bytes + max(original.decoder_bytes, written)


class Watched:
    """A method that waits for the test once it has begun."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self._method = method
        self._begun = threading.Semaphore(0)
        self.calls = 0
        self.opened = threading.Event()

    def __call__(self, *args: object) -> object:
        self.calls += 1
        self._begun.release()
        assert self.opened.wait(TIMEOUT_S)
        return self._method(*args)

    async def begun(self) -> None:
        """Until a thread is at work in it."""
        assert await asyncio.to_thread(self._begun.acquire, timeout=TIMEOUT_S)


@pytest.fixture
def decoding(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    method = Watched(Original.decode)
    monkeypatch.setattr(Original, "decode", lambda original: method(original))
    yield method
    method.opened.set()


@pytest.fixture
def encoding(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    method = Watched(Sheet.finish)
    monkeypatch.setattr(Sheet, "finish", lambda sheet: method(sheet))
    yield method
    method.opened.set()


@pytest.fixture
def studio(make_studio: Callable[..., Studio], gray_photo: Image.Image) -> Studio:
    """With room for two photographs and the upload of a third."""
    photo = to_bytes(gray_photo, "PNG")
    return make_studio(max_bytes_held=2 * needed(photo) + len(photo))


@pytest.fixture
def need(studio: Studio) -> int:
    """What one photograph takes."""
    return needed(studio.photo)


async def leave(*colorings: Coloring) -> None:
    """As clients do."""
    for coloring in colorings:
        coloring.cancel()
        with pytest.raises(asyncio.CancelledError):
            await coloring


async def lanes_are_idle(studio: Studio) -> None:
    """Until the lane has done all it was given."""
    await asyncio.wrap_future(submit(studio.lanes, LAST, int))


async def test_a_full_budget_refuses_and_an_answer_makes_room(studio: Studio, device: GatedDevice, need: int) -> None:
    first, second = studio.colorize(), studio.colorize()
    await asyncio.to_thread(device.wait_for_start)
    await lanes_are_idle(studio)
    assert studio.memory.held == 2 * need
    with pytest.raises(MemoryFullError) as full:
        await studio.colorize()
    assert full.value.wanted == need - len(studio.photo)
    assert full.value.retry_after_s >= 1
    device.open()
    await asyncio.gather(first, second)
    await lanes_are_idle(studio)
    assert studio.memory.held == 0
    assert (await studio.colorize()).data


async def test_a_photograph_without_room_is_not_decoded(studio: Studio, device: GatedDevice, decoding: Watched) -> None:
    decoding.opened.set()
    colorings = [studio.colorize() for _ in range(3)]
    with pytest.raises(MemoryFullError):
        await colorings.pop()
    device.open()
    await asyncio.gather(*colorings)
    assert decoding.calls == 2


async def test_when_to_come_back_is_computed_from_the_work_that_must_be_done(
    studio: Studio, device: GatedDevice
) -> None:
    studio.make_cost(MOBILENET, 2, 40)  # forty seconds for both together
    first, second = studio.colorize(), studio.colorize()
    await asyncio.to_thread(device.wait_for_start)
    await lanes_are_idle(studio)
    with pytest.raises(MemoryFullError) as full:
        await studio.colorize()
    # About half of what is held has to go.
    assert 15 <= full.value.retry_after_s <= 25
    device.open()
    await asyncio.gather(first, second)


@pytest.mark.parametrize("error", [TooManyPixelsError, UnsupportedFormatError])
async def test_what_the_header_already_forbids_is_not_decoded(
    make_studio: Callable[..., Studio], decoding: Watched, error: type[Exception]
) -> None:
    studio = make_studio(max_pixels=160 * 120)
    data = to_bytes(Image.new("L", (161, 120)), "PNG") if error is TooManyPixelsError else b"no picture"
    with pytest.raises(error):
        await studio.colorize(data=data)
    assert (studio.memory.held, decoding.calls) == (0, 0)


async def test_a_side_too_long_for_the_answers_format_is_refused_before_the_work(
    studio: Studio, device: GatedDevice, decoding: Watched
) -> None:
    order = Order(MOBILENET, ImageFormat.WEBP)
    data = to_bytes(Image.new("L", (16_384, 1)), "PNG")
    with studio.memory.lease() as lease, pytest.raises(TooManyPixelsError, match="at most 16383 a side"):
        await studio.engine.colorize(data, order, lease)
    assert (decoding.calls, device.batches) == (0, [])


async def test_a_broken_photograph_gives_its_memory_back_and_teaches_its_cost(
    studio: Studio, device: GatedDevice
) -> None:
    device.open()
    for _ in range(3):  # more than there would be room for
        with pytest.raises(BrokenImageError):
            await studio.colorize(data=studio.photo[: len(studio.photo) // 2])
    assert studio.memory.held == 0
    with studio.admission.inside([]):
        assert studio.admission.predicted_wait_s() > 0


async def test_so_does_one_that_the_network_fails_on(studio: Studio, device: GatedDevice) -> None:
    studio.painter.moods[MOBILENET] = "bad"
    device.open()
    with pytest.raises(InferenceError):
        await studio.colorize()
    assert studio.memory.held == 0


async def test_so_does_one_whose_answer_cannot_be_written(
    studio: Studio, device: GatedDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Sheet, "finish", fail)
    device.open()
    with pytest.raises(MemoryError):
        await studio.colorize()
    assert studio.memory.held == 0


async def test_a_decoder_that_cannot_be_stopped_counts_until_it_is_done(
    studio: Studio, decoding: Watched, need: int
) -> None:
    """In the memory and in the line: it keeps its lane busy."""
    studio.admission.observe(Stage.DECODING, 160 * 120, 1.0)
    coloring = studio.colorize()
    await decoding.begun()
    await leave(coloring)
    assert studio.memory.held == need
    assert studio.admission.predicted_wait_s() >= 1
    decoding.opened.set()
    await lanes_are_idle(studio)
    assert studio.memory.held == 0
    assert studio.admission.predicted_wait_s() == 0


async def test_the_same_after_a_deadline(make_studio: Callable[..., Studio], decoding: Watched) -> None:
    studio = make_studio(request_timeout_s=0.1)
    coloring = studio.colorize()
    await decoding.begun()
    with pytest.raises(DeadlineError):
        await coloring
    assert studio.memory.held == needed(studio.photo)
    decoding.opened.set()
    await lanes_are_idle(studio)
    assert studio.memory.held == 0


async def test_a_photograph_that_fails_to_decode_after_its_client_left_is_not_counted_twice(
    studio: Studio, decoding: Watched
) -> None:
    coloring = studio.colorize(data=studio.photo[: len(studio.photo) // 2])
    await decoding.begun()
    await leave(coloring)
    decoding.opened.set()
    await lanes_are_idle(studio)
    assert studio.memory.held == 0


async def test_who_leaves_before_a_lane_is_free_has_taken_nothing(studio: Studio, decoding: Watched, need: int) -> None:
    coloring = studio.colorize()
    await decoding.begun()
    waiting = studio.colorize()
    await asyncio.sleep(0)  # lets it come to the lane's door
    await leave(waiting)
    assert studio.memory.held == need
    await leave(coloring)
    decoding.opened.set()
    await lanes_are_idle(studio)
    assert (studio.memory.held, decoding.calls) == (0, 1)


async def test_who_leaves_the_devices_queue_gives_back_at_once(studio: Studio, device: GatedDevice, need: int) -> None:
    running, queued = studio.colorize(), studio.colorize()
    await asyncio.to_thread(device.wait_for_start)
    await lanes_are_idle(studio)
    await leave(queued)
    assert studio.memory.held == need
    await leave(running)
    assert studio.memory.held == 0


async def test_an_encoder_that_cannot_be_stopped_holds_the_memory_until_it_is_done(
    studio: Studio, device: GatedDevice, encoding: Watched, need: int
) -> None:
    device.open()
    coloring = studio.colorize()
    await encoding.begun()
    await leave(coloring)
    assert studio.memory.held == need
    encoding.opened.set()
    await lanes_are_idle(studio)
    assert studio.memory.held == 0


async def test_an_answer_is_held_until_it_is_taken(studio: Studio, device: GatedDevice) -> None:
    device.open()
    order = Order(MOBILENET, ImageFormat.PNG)
    with studio.memory.lease() as lease:
        colored = await studio.engine.colorize(studio.photo, order, lease)
        await lanes_are_idle(studio)
        assert studio.memory.held == len(colored.data)
    assert studio.memory.held == 0
