"""The budget of pixels along a request's way: taken before anything is decoded, given back when it is out of memory."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from PIL import Image

from service.engine.errors import DeadlineError, InferenceError, PixelsFullError
from service.imaging import codec
from service.imaging.codec import BrokenImageError, TooManyPixelsError, UnsupportedFormatError
from tests.pictures import to_bytes
from tests.unit.engine.gated_device import TIMEOUT_S, GatedDevice
from tests.unit.engine.studio import MOBILENET, Coloring, Studio

pytestmark = pytest.mark.anyio

PIXELS = 160 * 120

LAST = float("inf")
"""Younger than any request."""


class Codec:
    """One of the codec's functions, which waits for the test once it has begun."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._begun = threading.Semaphore(0)
        self.calls = 0
        self.opened = threading.Event()

    def __call__(self, *args: object) -> object:
        self.calls += 1
        self._begun.release()
        assert self.opened.wait(TIMEOUT_S)
        return self._function(*args)

    async def begun(self) -> None:
        """Until a thread is at work in it."""
        assert await asyncio.to_thread(self._begun.acquire, timeout=TIMEOUT_S)


@pytest.fixture
def decoding(monkeypatch: pytest.MonkeyPatch) -> Iterator[Codec]:
    function = Codec(codec.decode)
    monkeypatch.setattr("service.engine.colorize.decode", function)
    yield function
    function.opened.set()


@pytest.fixture
def encoding(monkeypatch: pytest.MonkeyPatch) -> Iterator[Codec]:
    function = Codec(codec.encode)
    monkeypatch.setattr("service.engine.colorize.encode", function)
    yield function
    function.opened.set()


@pytest.fixture
def studio(make_studio: Callable[..., Studio]) -> Studio:
    """With room for two photographs."""
    return make_studio(max_pixels=PIXELS, max_pixels_held=2 * PIXELS)


async def leave(*colorings: Coloring) -> None:
    """As clients do."""
    for coloring in colorings:
        coloring.cancel()
        with pytest.raises(asyncio.CancelledError):
            await coloring


async def lanes_are_idle(studio: Studio) -> None:
    """Until the lane has done all it was given."""
    await asyncio.wrap_future(studio.lanes.submit(LAST, int))


async def test_a_full_budget_refuses_and_an_answer_makes_room(studio: Studio, device: GatedDevice) -> None:
    first, second = studio.colorize(), studio.colorize()
    await asyncio.to_thread(device.wait_for_start)
    await lanes_are_idle(studio)
    assert studio.pixels.held == 2 * PIXELS
    with pytest.raises(PixelsFullError):
        await studio.colorize()
    device.open()
    await asyncio.gather(first, second)
    assert studio.pixels.held == 0
    assert (await studio.colorize()).data


async def test_a_photograph_without_room_is_not_decoded(studio: Studio, device: GatedDevice, decoding: Codec) -> None:
    decoding.opened.set()
    colorings = [studio.colorize() for _ in range(3)]
    with pytest.raises(PixelsFullError):
        await colorings.pop()
    assert decoding.calls == 2
    device.open()
    await asyncio.gather(*colorings)


@pytest.mark.parametrize("error", [TooManyPixelsError, UnsupportedFormatError])
async def test_what_the_header_already_forbids_takes_nothing(
    studio: Studio, decoding: Codec, error: type[Exception]
) -> None:
    data = to_bytes(Image.new("L", (161, 120)), "PNG") if error is TooManyPixelsError else b"no picture"
    with pytest.raises(error):
        await studio.colorize(data=data)
    assert (studio.pixels.held, decoding.calls) == (0, 0)


async def test_a_broken_photograph_gives_its_pixels_back(studio: Studio, device: GatedDevice) -> None:
    device.open()
    for _ in range(3):  # more than there would be room for
        with pytest.raises(BrokenImageError):
            await studio.colorize(data=studio.photo[: len(studio.photo) // 2])
    assert studio.pixels.held == 0


async def test_so_does_one_that_the_network_fails_on(studio: Studio, device: GatedDevice) -> None:
    studio.painter.moods[MOBILENET] = "bad"
    device.open()
    with pytest.raises(InferenceError):
        await studio.colorize()
    assert studio.pixels.held == 0


async def test_so_does_one_whose_answer_cannot_be_written(
    studio: Studio, device: GatedDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object) -> None:
        raise MemoryError

    monkeypatch.setattr("service.engine.colorize.encode", fail)
    device.open()
    with pytest.raises(MemoryError):
        await studio.colorize()
    assert studio.pixels.held == 0


async def test_a_decoder_that_cannot_be_stopped_holds_the_pixels_until_it_is_done(
    studio: Studio, decoding: Codec
) -> None:
    coloring = studio.colorize()
    await decoding.begun()
    await leave(coloring)
    assert studio.pixels.held == PIXELS
    assert studio.admission.predicted_wait_s() == 0
    decoding.opened.set()
    await lanes_are_idle(studio)
    assert studio.pixels.held == 0


async def test_the_same_after_a_deadline(make_studio: Callable[..., Studio], decoding: Codec) -> None:
    studio = make_studio(request_timeout_s=0.1)
    coloring = studio.colorize()
    await decoding.begun()
    with pytest.raises(DeadlineError):
        await coloring
    assert studio.pixels.held == PIXELS
    decoding.opened.set()
    await lanes_are_idle(studio)
    assert studio.pixels.held == 0


async def test_a_photograph_that_fails_to_decode_after_its_client_left_is_not_counted_twice(
    studio: Studio, decoding: Codec
) -> None:
    coloring = studio.colorize(data=studio.photo[: len(studio.photo) // 2])
    await decoding.begun()
    await leave(coloring)
    decoding.opened.set()
    await lanes_are_idle(studio)
    assert studio.pixels.held == 0


async def test_who_leaves_before_a_decoder_is_free_has_taken_nothing(studio: Studio, decoding: Codec) -> None:
    coloring = studio.colorize()
    await decoding.begun()
    waiting = studio.colorize()
    await asyncio.sleep(0)  # lets it come to the decoder's door
    await leave(waiting)
    assert studio.pixels.held == PIXELS
    await leave(coloring)
    decoding.opened.set()
    await lanes_are_idle(studio)
    assert (studio.pixels.held, decoding.calls) == (0, 1)


async def test_who_leaves_the_devices_queue_gives_back_at_once(studio: Studio, device: GatedDevice) -> None:
    running, queued = studio.colorize(), studio.colorize()
    await asyncio.to_thread(device.wait_for_start)
    await lanes_are_idle(studio)
    await leave(queued)
    assert studio.pixels.held == PIXELS
    await leave(running)
    assert studio.pixels.held == 0


async def test_an_encoder_that_cannot_be_stopped_holds_the_pixels_until_it_is_done(
    studio: Studio, device: GatedDevice, encoding: Codec
) -> None:
    device.open()
    coloring = studio.colorize()
    await encoding.begun()
    await leave(coloring)
    assert studio.pixels.held == PIXELS
    encoding.opened.set()
    await lanes_are_idle(studio)
    assert studio.pixels.held == 0


async def test_who_leaves_before_an_encoder_is_free_gives_back_at_once(
    studio: Studio, device: GatedDevice, encoding: Codec
) -> None:
    device.open()
    first, second = studio.colorize(), studio.colorize()
    await encoding.begun()
    while studio.admission.predicted_wait_s() > 0:  # noqa: ASYNC110 - until the second is through the device as well
        await asyncio.sleep(0)
    await leave(second)
    assert studio.pixels.held == PIXELS
    encoding.opened.set()
    await first
    assert (studio.pixels.held, encoding.calls) == (0, 1)
