"""The straight line of one request: bytes in, decode, one wait for the network, recompose, encode, bytes out."""

import asyncio
import math
import time
import weakref
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from service.engine.admission import Admission, Place, Stage
from service.engine.batcher import Answer, MicroBatcher
from service.engine.choice import BackboneChoice
from service.engine.errors import BackboneUnavailableError, DeadlineError, MemoryFullError
from service.engine.lanes import Lanes
from service.engine.line import Line, Resume, Wait
from service.engine.memory import Lease, MemoryBudget
from service.imaging.codec import ImageFormat, Photograph, TooManyPixelsError, decode, encode, inspect
from service.imaging.recompose import Painting
from service.imaging.upsample import reduce
from service.network.preprocessing import INPUT_SIZE
from service.telemetry.metrics import Metrics

_BANDS = 8
"""Painted in one step, some ten milliseconds' work: then who comes earlier in the order has his turn."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a client wants done with a photograph."""

    backbone: BackboneChoice
    format: ImageFormat | None
    """None: the photograph's own, where we write it."""
    quality: int
    saturation: float
    hints: Tensor | None = None
    """Colours that are known, at the network's size: (3, 224, 224), see `Colorizer.predict`."""


@dataclass(frozen=True, slots=True)
class ColoredPhotograph:
    """The answer."""

    data: bytes
    format: ImageFormat
    width: int
    height: int
    seconds: Mapping[str, float]
    """Time spent in each stage: decode, queue, inference, recompose, encode."""


class Engine:
    """Colours photographs with the backbones it was given."""

    def __init__(
        self,
        batcher: MicroBatcher[Tensor, Tensor],
        admission: Admission,
        memory: MemoryBudget,
        lanes: Lanes,
        metrics: Metrics,
        *,
        unavailable: Mapping[BackboneChoice, str],
        max_pixels: int,
        request_timeout_s: float,
    ) -> None:
        """`unavailable`: why each choice that lacks weights here cannot be served."""
        self._batcher = batcher
        self._admission = admission
        self.memory = memory
        """What all requests may hold."""
        self._lanes = lanes
        self._metrics = metrics
        self._unavailable = unavailable
        self._max_pixels = max_pixels
        self._request_timeout_s = request_timeout_s

    def warm_up(self) -> None:
        """Learns what decoding and writing cost on this machine, for the first predictions; not for a lane."""
        side = 2 * INPUT_SIZE
        ramp = torch.arange(side, dtype=torch.uint8).expand(side, side)  # wraps around: edges, as photographs have
        data = encode(ramp[..., None].repeat(1, 1, 3), None, ImageFormat.JPEG, 90)
        for _ in range(2):  # the first takes longer
            began = time.monotonic()
            photograph = decode(data, side**2)
            reduce(photograph.lightness, INPUT_SIZE)
            read = time.monotonic()
            painting = Painting(photograph.lightness, torch.zeros(2, INPUT_SIZE, INPUT_SIZE), 1.0)
            painting.paint()
            encode(painting.rgb, None, ImageFormat.JPEG, 90)
            written = time.monotonic()
        self._admission.observe(Stage.DECODING, side**2, read - began)
        self._admission.observe(Stage.WRITING, side**2, written - read)

    def admit(self, backbone: BackboneChoice) -> None:
        """Tells a request before its body is read that it will not be served.

        Raises:
            BackboneUnavailableError: The backbone, or one that the blend is made of, has no weights here.
            QueueFullError: See `Admission.admit`.
            ClosedError, WorkerDeadError: See `MicroBatcher.submit`.
        """
        if backbone in self._unavailable:
            raise BackboneUnavailableError(self._unavailable[backbone])
        self._batcher.admit()
        self._admission.admit()

    async def colorize(self, data: bytes, order: Order, lease: Lease) -> ColoredPhotograph:
        """Colours one encoded image at its own size; the backbone must be one that `admit` lets in.

        `lease`: holds the data; then also what the photograph takes, and at last the answer alone.

        Raises:
            ImageError: The bytes are not a photograph we can read, or the answer does not fit the format asked for.
            QueueFullError: See `Admission.admit`; asked again, as many may have come in while the body was read.
            MemoryFullError: See `Lease.hold`.
            ClosedError, WorkerDeadError, InferenceError: See `MicroBatcher.submit`.
            DeadlineError: All this took too long.
            MemoryError: The photograph does not fit into memory.
        """
        self._admission.admit()
        keys, arrived = order.backbone.backbones, self._batcher.clock()
        with ExitStack() as held:
            held.enter_context(lease)
            place = held.enter_context(self._admission.inside(keys, arrived))
            line = Line(self._lanes, lambda: place.order, self._steps(data, order, lease, place, arrived))
            # A lane cannot be interrupted: whoever waits for it still, it is counted until its last step has ended.
            leave = held.pop_all().close
        line.result.add_done_callback(lambda _: leave())
        line.start(keys)
        try:
            async with asyncio.timeout(self._request_timeout_s):
                return await asyncio.wrap_future(line.result)
        except TimeoutError:
            raise DeadlineError(f"not finished within {self._request_timeout_s:g} s") from None
        finally:
            line.abandon()
            del line  # an error's traceback knows this frame, and the line the error: a circle around the photograph

    def _steps(
        self, data: bytes, order: Order, lease: Lease, place: Place, arrived: float
    ) -> Generator[Wait, Any, ColoredPhotograph]:
        keys, clock = order.backbone.backbones, self._batcher.clock
        # The header comes first, as it says what the photograph will cost, or that it is none.
        header = inspect(data, self._max_pixels)
        format = order.format or header.format
        header.check_fits(format)
        self._admission.rank(place, header.pixels)
        needed = len(data) + header.memory_bytes(format)
        if needed > self.memory.max_bytes:
            raise TooManyPixelsError(
                f"The image takes {needed} bytes in work as {format}, more than the {self.memory.max_bytes} there are"
            )
        self._hold(lease, place, needed)
        yield partial(_turn, keys)
        photograph, canvas = self._read(data, header.pixels)
        if order.hints is not None:
            canvas = torch.cat((canvas, order.hints))
        place.stage, read = Stage.AT_NETWORK, clock()
        answers: list[Answer[Tensor]] = yield partial(self._batcher.submit, keys, canvas, order=place.order)
        place.stage, inferred = Stage.WRITING, clock()
        painting = Painting(photograph.lightness, _mean(answers), order.saturation)
        self._ask_for_help(painting, place.order, lease)
        waited_s = 0.0
        while painting.paint(_BANDS):
            rests = clock()
            yield partial(_turn, ())
            waited_s += clock() - rests
        painting.wait()
        recomposed = clock()
        encoded = encode(painting.rgb, photograph.alpha, format, order.quality)
        written = clock()
        self._admission.observe(Stage.WRITING, header.pixels, written - inferred - waited_s)
        lease.hold(min(len(encoded), needed))
        # The networks of a blend may have run side by side.
        inference_s = min(inferred - read, sum(answer.inference_s for answer in answers))
        seconds = {
            # The wait for a lane counts as decoding: it is time the client spends there.
            "decode": read - arrived,
            "queue": inferred - read - inference_s,
            "inference": inference_s,
            "recompose": recomposed - inferred,
            "encode": written - recomposed,
        }
        for stage, duration in seconds.items():
            self._metrics.stage_seconds.labels(order.backbone, stage).observe(duration)
        height, width = photograph.lightness.shape
        return ColoredPhotograph(encoded, format, width, height, seconds)

    def _hold(self, lease: Lease, place: Place, count: int) -> None:
        try:
            lease.hold(count)
        except MemoryFullError as error:
            # When so large a share of the work has been done that it would fit.
            share = min(1.0, (error.wanted - error.free) / max(1, self.memory.held))
            wait = share * self._admission.predicted_wait_s(place)
            raise MemoryFullError(error.wanted, error.free, max(1, math.ceil(wait))) from None

    def _read(self, data: bytes, pixels: int) -> tuple[Photograph, Tensor]:
        started = time.monotonic()
        try:
            photograph = decode(data, self._max_pixels)
            return photograph, reduce(photograph.lightness, INPUT_SIZE)
        finally:
            self._admission.observe(Stage.DECODING, pixels, time.monotonic() - started)

    def _ask_for_help(self, painting: Painting, order: float, lease: Lease) -> None:
        """Has lanes that have nothing to do join in."""
        for _ in range(min(self._lanes.spare, painting.bands_left - 1)):
            # Weakly: one that comes too late must not have kept the photograph in memory until then.
            self._lanes.post(order, partial(self._help, weakref.ref(painting), order, lease))

    def _help(self, painting: "weakref.ref[Painting]", order: float, lease: Lease) -> None:
        with lease:
            more = (alive := painting()) is not None and alive.paint(_BANDS)
            del alive
        if more:
            self._lanes.post(order, partial(self._help, painting, order, lease))


def _mean(answers: Sequence[Answer[Tensor]]) -> Tensor:
    first, *others = (answer.result for answer in answers)
    return torch.stack([first, *others]).mean(dim=0) if others else first


def _turn(newcomer_to: Collection[str], resume: Resume) -> Callable[[], bool]:
    """Waits for nothing but its turn."""
    resume(None, newcomer_to)
    return lambda: False
