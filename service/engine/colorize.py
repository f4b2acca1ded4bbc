"""The straight line of one request: bytes in, decode, one await into the queue, recompose, encode, bytes out."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from service.engine.admission import Admission, Stage
from service.engine.batcher import MicroBatcher
from service.engine.choice import BackboneChoice
from service.engine.errors import BackboneUnavailableError, DeadlineError
from service.engine.pixels import PixelBudget
from service.imaging.codec import ImageFormat, Photograph, count_pixels, decode, encode
from service.imaging.recompose import recompose
from service.imaging.upsample import reduce
from service.network.preprocessing import INPUT_SIZE
from service.telemetry.metrics import Metrics


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


@dataclass(frozen=True, slots=True)
class _Read:
    """A photograph decoded, and what the network is to see of it."""

    photograph: Photograph
    lightness: Tensor
    pixels: int
    seconds: float


class Engine:
    """Colours photographs with the backbones it was given."""

    def __init__(
        self,
        batcher: MicroBatcher[Tensor, Tensor],
        admission: Admission,
        pixels: PixelBudget,
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
        self._admission = admission
        self._pixels = pixels
        self._decoders = decoders
        self._encoders = encoders
        self._metrics = metrics
        self._unavailable = unavailable
        self._max_pixels = max_pixels
        self._request_timeout_s = request_timeout_s

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

    async def colorize(self, data: bytes, order: Order) -> ColoredPhotograph:
        """Colours one encoded image at its own size; the backbone must be one that `admit` lets in.

        Raises:
            ImageError: The bytes are not a photograph we can read, or the answer does not fit the format asked for.
            QueueFullError: See `Admission.admit`; asked again, as many may have come in while the body was read.
            PixelsFullError: See `PixelBudget.take`.
            ClosedError, WorkerDeadError, InferenceError: See `MicroBatcher.submit`.
            DeadlineError: All this took too long.
            MemoryError: The photograph does not fit into memory.
        """
        self._admission.admit()
        try:
            async with asyncio.timeout(self._request_timeout_s):
                return await self._colorize(data, order)
        except TimeoutError:
            raise DeadlineError(f"not finished within {self._request_timeout_s:g} s") from None

    async def _colorize(self, data: bytes, order: Order) -> ColoredPhotograph:
        keys = order.backbone.backbones
        started = time.monotonic()
        last_job: Future[Any] = (decoding := self._decoders.submit(self._read, data))
        try:
            with self._admission.inside(Stage.DECODING, keys):
                read = await asyncio.wrap_future(decoding)
            self._admission.observe(Stage.DECODING, read.seconds)
            photograph, decoded = read.photograph, time.monotonic()
            with self._admission.inside(Stage.AT_DEVICE, keys):
                canvas = read.lightness if order.hints is None else torch.cat((read.lightness, order.hints))
                answers = await self._batcher.submit(keys, canvas)
            inferred = time.monotonic()
            format = order.format or photograph.format
            predictions = [answer.result for answer in answers]
            last_job = encoding = self._encoders.submit(self._write, photograph, predictions, format, order)
            with self._admission.inside(Stage.ENCODING, keys):
                encoded, recompose_s, encode_s = await asyncio.wrap_future(encoding)
            self._admission.observe(Stage.ENCODING, recompose_s + encode_s)
        finally:
            # A thread cannot be interrupted: if the client left, the pixels are in memory until it is done with them.
            last_job.add_done_callback(lambda _: self._give_back(decoding))
        inference_s = sum(answer.inference_s for answer in answers)
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

    def _read(self, data: bytes) -> _Read:
        started = time.monotonic()
        pixels = count_pixels(data, self._max_pixels)
        self._pixels.take(pixels)
        try:
            photograph = decode(data, self._max_pixels)
            lightness = reduce(photograph.lightness, INPUT_SIZE)
        except BaseException:
            self._pixels.give_back(pixels)
            raise
        return _Read(photograph, lightness, pixels, time.monotonic() - started)

    def _write(
        self, photograph: Photograph, predictions: Sequence[Tensor], format: ImageFormat, order: Order
    ) -> tuple[bytes, float, float]:
        """The picture in the mean of the predicted colours, encoded; the seconds of recomposing and of encoding it."""
        started = time.monotonic()
        ab = torch.stack(list(predictions)).mean(dim=0)
        rgb = recompose(photograph.lightness, ab, order.saturation, helpers=self._encoders)
        recomposed = time.monotonic()
        data = encode(rgb, photograph.alpha, format, order.quality)
        return data, recomposed - started, time.monotonic() - recomposed

    def _give_back(self, decoding: "Future[_Read]") -> None:
        if not decoding.cancelled() and decoding.exception() is None:
            self._pixels.give_back(decoding.result().pixels)
