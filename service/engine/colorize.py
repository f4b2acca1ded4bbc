"""The straight line of one request: bytes in, decode, one await into the queue, recompose, encode, bytes out."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

from service.engine.batcher import MicroBatcher
from service.engine.choice import BackboneChoice
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

    backbone: BackboneChoice
    format: ImageFormat | None
    """None: the photograph's own, where we write it."""
    quality: int
    saturation: float


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
        decoders: ThreadPoolExecutor,
        encoders: ThreadPoolExecutor,
        metrics: Metrics,
        *,
        unavailable: Mapping[BackboneChoice, str],
        max_pixels: int,
        request_timeout_s: float,
    ) -> None:
        """`unavailable`: why each choice that lacks weights here cannot be served.

        Decoders and encoders are separate, or a photograph that is nearly done would wait behind every newcomer's
        decoding: all would be decoded, and held in memory, before the first is answered.
        """
        self._batcher = batcher
        self._decoders = decoders
        self._encoders = encoders
        self._metrics = metrics
        self._unavailable = unavailable
        self._max_pixels = max_pixels
        self._request_timeout_s = request_timeout_s

    def admit(self, backbone: BackboneChoice) -> None:
        """Refuses a request before its body is read, where it is known already that it will not be served.

        Raises:
            BackboneUnavailableError: The backbone, or one that the blend is made of, has no weights here.
            QueueFullError, ClosedError, WorkerDeadError: See `MicroBatcher.submit`.
        """
        if backbone in self._unavailable:
            raise BackboneUnavailableError(self._unavailable[backbone])
        self._batcher.admit()

    async def colorize(self, data: bytes, order: Order) -> ColoredPhotograph:
        """Colours one encoded image at its own size; the backbone must be one that `admit` lets in.

        Raises:
            ImageError: The bytes are not a photograph we can read, or the answer does not fit the format asked for.
            QueueFullError, ClosedError, WorkerDeadError, InferenceError: See `MicroBatcher.submit`.
            DeadlineError: All this took too long.
            MemoryError: The photograph does not fit into memory.
        """
        try:
            async with asyncio.timeout(self._request_timeout_s):
                return await self._colorize(data, order)
        except TimeoutError:
            raise DeadlineError(f"not finished within {self._request_timeout_s:g} s") from None

    async def _colorize(self, data: bytes, order: Order) -> ColoredPhotograph:
        started = time.monotonic()
        photograph, lightness = await _run(self._decoders, self._read, data)
        decoded = time.monotonic()
        answers = await self._batcher.submit(order.backbone.backbones, lightness)
        inferred = time.monotonic()
        inference_s = sum(answer.inference_s for answer in answers)
        format = order.format or photograph.format
        encoded, encode_s = await _run(
            self._encoders, _write, photograph, [answer.result for answer in answers], format, order
        )
        seconds = {
            # The wait for a thread counts as decoding and recomposing: it is time the client spends there.
            "decode": decoded - started,
            # One device runs the networks one after the other: what was no inference of its own was waiting.
            "queue": max(answer.queue_s + answer.inference_s for answer in answers) - inference_s,
            "inference": inference_s,
            "recompose": time.monotonic() - inferred - encode_s,
            "encode": encode_s,
        }
        for stage, duration in seconds.items():
            self._metrics.stage_seconds.labels(order.backbone, stage).observe(duration)
        height, width = photograph.lightness.shape
        return ColoredPhotograph(encoded, format, width, height, seconds)

    def _read(self, data: bytes) -> tuple[Photograph, Tensor]:
        photograph = decode(data, self._max_pixels)
        return photograph, reduce(photograph.lightness, INPUT_SIZE)


def _write(
    photograph: Photograph, predictions: Sequence[Tensor], format: ImageFormat, order: Order
) -> tuple[bytes, float]:
    """The picture in the mean of the predicted colours, encoded, and the seconds that encoding it took."""
    ab = torch.stack(list(predictions)).mean(dim=0)
    rgb = recompose(photograph.lightness, ab, order.saturation)
    started = time.monotonic()
    return encode(rgb, photograph.alpha, format, order.quality), time.monotonic() - started


async def _run(threads: ThreadPoolExecutor, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Runs blocking work: Pillow and torch release the interpreter lock for nearly all of it."""
    return await asyncio.get_running_loop().run_in_executor(threads, lambda: work(*args, **kwargs))
