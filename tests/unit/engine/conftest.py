"""A batcher and a worker on a gated device; an engine on networks behind the same gate."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
from PIL import Image
from prometheus_client import CollectorRegistry

from service.engine.admission import Admission
from service.engine.batcher import MicroBatcher
from service.engine.colorize import Engine
from service.engine.costs import BatchCosts
from service.engine.pixels import PixelBudget
from service.engine.worker import DeviceWorker
from service.telemetry.metrics import Metrics
from tests.pictures import to_bytes
from tests.unit.engine.gated_device import TIMEOUT_S, Clock, GatedDevice
from tests.unit.engine.queueing import Batcher, StartWorker, Worker
from tests.unit.engine.studio import BLEND, NETWORKS, RESNET, Painter, Studio


@pytest.fixture
def device() -> GatedDevice:
    return GatedDevice()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry())


@pytest.fixture
def costs() -> BatchCosts:
    """Ten seconds a batch, whatever its size."""
    return BatchCosts({key: dict.fromkeys((1, 2, 4), 10.0) for key in ("left", "right")})


@pytest.fixture
def batcher() -> Batcher:
    return MicroBatcher(["left", "right"], max_batch_size=4, max_wait_s=0)


@pytest.fixture
def start_worker(device: GatedDevice, clock: Clock, costs: BatchCosts, metrics: Metrics) -> Iterator[StartWorker]:
    """Puts a worker behind a batcher, on the gated device or another; both are ended after the test."""
    started: list[tuple[MicroBatcher[Any, Any], DeviceWorker[Any, Any]]] = []

    def start(batcher: MicroBatcher[Any, Any], device: Any = device, costs: BatchCosts = costs) -> Worker:
        worker = DeviceWorker(batcher, device, costs, metrics)
        worker.start()
        started.append((batcher, worker))
        return worker

    yield start
    device.open()
    clock.flies = True
    for batcher, worker in started:
        batcher.close()
        worker.join(TIMEOUT_S)
        assert not worker.alive


@pytest.fixture
def worker(batcher: Batcher, start_worker: StartWorker) -> Worker:
    """A running worker behind `batcher`."""
    return start_worker(batcher)


@pytest.fixture
def make_studio(
    device: GatedDevice, metrics: Metrics, start_worker: StartWorker, gray_photo: Image.Image
) -> Iterator[Callable[..., Studio]]:
    """Builds an engine with one decoder and one encoder, its worker running."""
    with ExitStack() as pools:

        def make(max_pixels: int = 10**6, max_pixels_held: int = 10**6, request_timeout_s: float = 60) -> Studio:
            decoders, encoders = (pools.enter_context(ThreadPoolExecutor(1)) for _ in range(2))
            batcher: MicroBatcher[Any, Any] = MicroBatcher(NETWORKS, max_batch_size=4, max_wait_s=0)
            costs = BatchCosts({name: dict.fromkeys((1, 2, 4), 0.001) for name in NETWORKS})
            admission, pixels = Admission(60, costs, codec_threads=1), PixelBudget(max_pixels_held)
            engine = Engine(
                batcher,
                admission,
                pixels,
                decoders,
                encoders,
                metrics,
                unavailable={RESNET: "no resnet101", BLEND: "no resnet101"},
                max_pixels=max_pixels,
                request_timeout_s=request_timeout_s,
            )
            painter = Painter(device)
            start_worker(batcher, painter, costs)
            photo = to_bytes(gray_photo, "PNG")
            return Studio(engine, batcher, costs, admission, pixels, decoders, encoders, painter, photo)

        yield make
        device.open()


@pytest.fixture
def studio(make_studio: Callable[..., Studio]) -> Studio:
    return make_studio()
