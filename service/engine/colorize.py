"""The straight line of one request: bytes in, decode, one await into the queue, recompose, encode, bytes out."""

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from torch import Tensor

from service.engine.batcher import MicroBatcher
from service.engine.errors import BackboneUnavailableError, DeadlineError
from service.imaging.codec import ImageFormat, Photograph, decode, encode
from service.imaging.recompose import recompose
from service.imaging.upsample import reduce
from service.network.preprocessing import INPUT_SIZE
from service.telemetry.metrics import Metrics

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Order:
    """What a client wants done with a photograph."""

    backbone: str
    format: ImageFormat | None = None
    """None: the photograph's own, where we write it."""
    quality: int = 90
    saturation: float = 1.0


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
        codec: ThreadPoolExecutor,
        metrics: Metrics,
        *,
        unavailable: Mapping[str, str],
        max_pixels: int,
        request_timeout_s: float,
    ) -> None:
        """`unavailable`: why each backbone that was asked for in the settings, but has no weights, cannot serve."""
        self._batcher = batcher
        self._codec = codec
        self._metrics = metrics
        self._unavailable = unavailable
        self._max_pixels = max_pixels
        self._request_timeout_s = request_timeout_s

    async def colorize(self, data: bytes, order: Order) -> ColoredPhotograph:
        """Colours one encoded image at its own size.

        Raises:
            BackboneUnavailableError: The backbone has no weights here.
            ImageError: The bytes are not a photograph we can read.
            QueueFullError, ClosedError, WorkerDeadError, InferenceError: See `MicroBatcher.submit`.
            DeadlineError: All this took too long.
        """
        if order.backbone in self._unavailable:
            raise BackboneUnavailableError(self._unavailable[order.backbone])
        try:
            async with asyncio.timeout(self._request_timeout_s):
                return await self._colorize(data, order)
        except TimeoutError:
            raise DeadlineError(f"not finished within {self._request_timeout_s:g} s") from None

    async def _colorize(self, data: bytes, order: Order) -> ColoredPhotograph:
        seconds: dict[str, float] = {}
        photograph, lightness = await self._in_codec(self._read, data, seconds)
        answer = await self._batcher.submit(order.backbone, lightness)
        seconds |= {"queue": answer.queue_s, "inference": answer.inference_s}
        format = order.format or photograph.format
        encoded = await self._in_codec(_write, photograph, answer.result, format, order, seconds)
        for stage, duration in seconds.items():
            self._metrics.stage_seconds.labels(order.backbone, stage).observe(duration)
        height, width = photograph.lightness.shape
        return ColoredPhotograph(encoded, format, width, height, seconds)

    def _read(self, data: bytes, seconds: dict[str, float]) -> tuple[Photograph, Tensor]:
        started = time.monotonic()
        photograph = decode(data, self._max_pixels)
        lightness = reduce(photograph.lightness, INPUT_SIZE)
        seconds["decode"] = time.monotonic() - started
        return photograph, lightness

    async def _in_codec(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs on the codec threads: Pillow and torch release the interpreter lock for nearly all of it."""
        return await asyncio.get_running_loop().run_in_executor(self._codec, lambda: work(*args, **kwargs))


def _write(photograph: Photograph, ab: Tensor, format: ImageFormat, order: Order, seconds: dict[str, float]) -> bytes:
    started = time.monotonic()
    rgb = recompose(photograph.lightness, ab, order.saturation)
    recomposed = time.monotonic()
    encoded = encode(rgb, photograph.alpha, format, order.quality)
    seconds |= {"recompose": recomposed - started, "encode": time.monotonic() - recomposed}
    return encoded
