"""The straight line of one request: bytes in, decode, one wait for the network, recompose, encode, bytes out."""

import asyncio
import math
import time
import weakref
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from io import BytesIO
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from service.engine.admission import Admission, Place, Stage
from service.engine.batcher import Answer, MicroBatcher
from service.engine.choice import BackboneChoice
from service.engine.errors import BackboneUnavailableError, DeadlineError, MemoryFullError
from service.engine.job import Job
from service.engine.lanes import Lanes
from service.engine.line import Line, Resume, Wait
from service.engine.memory import Lease, MemoryBudget
from service.engine.order import ColoredPhotograph, Order
from service.imaging.errors import TooManyPixelsError
from service.imaging.recompose import Painting
from service.network.preprocessing import INPUT_SIZE
from service.telemetry.metrics import Metrics

_BANDS = 8
"""Painted in one step, some ten milliseconds' work: then who comes earlier in the order has his turn."""


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
        file = BytesIO()
        # A ramp that wraps around: edges, as photographs have.
        Image.linear_gradient("L").resize((side, side)).point(lambda level: level * 3 % 256).save(
            file, "JPEG", quality=90
        )
        for _ in range(2):  # the first takes longer
            began = time.monotonic()
            job = Job(file.getvalue(), Order(BackboneChoice.BLEND), side**2)
            canvases = job.read()
            read = time.monotonic()
            job.prepare([torch.zeros(3, INPUT_SIZE, INPUT_SIZE)] * len(canvases)).paint()
            job.finish()
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
        job = Job(data, order, self._max_pixels)
        pixels = job.original.pixels
        self._admission.rank(place, pixels)
        needed = len(data) + job.needed
        if needed > self.memory.max_bytes:
            raise TooManyPixelsError(
                f"The image takes {needed} bytes in work as {job.encoding.format}, more than the "
                f"{self.memory.max_bytes} there are; PNG takes least"
            )
        self._hold(lease, place, needed)
        yield partial(_turn, keys)
        canvases = self._read(job)
        place.stage, read = Stage.AT_NETWORK, clock()
        answers: list[Tensor] = []
        computed_s = 0.0
        for canvas in canvases:
            own: list[Answer[Tensor]] = yield partial(self._batcher.submit, keys, canvas, order=place.order)
            answers.append(_mean(own))
            computed_s += sum(answer.inference_s for answer in own)
        place.stage, inferred = Stage.WRITING, clock()
        painting = job.prepare(answers)
        self._ask_for_help(painting, place.order, lease)
        waited_s = 0.0
        while painting.paint(_BANDS):
            rests = clock()
            yield partial(_turn, ())
            waited_s += clock() - rests
        painting.wait()
        recomposed = clock()
        encoded = job.finish()
        written = clock()
        self._admission.observe(Stage.WRITING, job.width * job.height, written - inferred - waited_s)
        lease.hold(min(len(encoded), needed))
        # The networks of a blend may have run side by side.
        inference_s = min(inferred - read, computed_s)
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
        return ColoredPhotograph(encoded, job.encoding.format, job.width, job.height, job.notes, seconds)

    def _hold(self, lease: Lease, place: Place, count: int) -> None:
        try:
            lease.hold(count)
        except MemoryFullError as error:
            # When so large a share of the work has been done that it would fit.
            share = min(1.0, (error.wanted - error.free) / max(1, self.memory.held))
            wait = share * self._admission.predicted_wait_s(place)
            raise MemoryFullError(error.wanted, error.free, max(1, math.ceil(wait))) from None

    def _read(self, job: Job) -> list[Tensor]:
        started = time.monotonic()
        try:
            return job.read()
        finally:
            self._admission.observe(Stage.DECODING, job.original.pixels, time.monotonic() - started)

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
