"""A batcher and a worker on a gated device; an engine on networks behind the same gate."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from PIL import Image
from prometheus_client import CollectorRegistry

from service.engine.admission import Admission
from service.engine.batcher import MicroBatcher
from service.engine.colorize import Engine
from service.engine.costs import BatchCosts
from service.engine.lanes import Lanes
from service.engine.memory import MemoryBudget
from service.engine.worker import DeviceWorker
from service.telemetry.metrics import Metrics
from tests.pictures import to_bytes
from tests.unit.engine.gated_device import TIMEOUT_S, Clock, GatedDevice
from tests.unit.engine.queueing import AwaitedBatcher, Batcher, StartWorker, Worker
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
    return AwaitedBatcher(["left", "right"], max_batch_size=4, max_wait_s=0)


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
    """Builds an engine with one lane, and a worker for its device."""
    started: list[Lanes] = []

    def make(max_pixels: int = 10**6, max_bytes_held: int = 10**9, request_timeout_s: float = 60) -> Studio:
        lanes = Lanes(1)
        lanes.start()
        started.append(lanes)
        batcher: AwaitedBatcher[Any, Any] = AwaitedBatcher(NETWORKS, max_batch_size=4, max_wait_s=0)
        costs = BatchCosts({name: dict.fromkeys((1, 2, 4), 0.001) for name in NETWORKS})
        admission, memory = Admission(60, costs, lanes=1, on_lanes=False), MemoryBudget(max_bytes_held)
        engine = Engine(
            batcher,
            admission,
            memory,
            lanes,
            metrics,
            unavailable={RESNET: "no resnet101", BLEND: "no resnet101"},
            max_pixels=max_pixels,
            request_timeout_s=request_timeout_s,
        )
        painter = Painter(device)
        start_worker(batcher, painter, costs)
        return Studio(engine, batcher, costs, admission, memory, lanes, painter, to_bytes(gray_photo, "PNG"))

    yield make
    device.open()
    for lanes in started:
        lanes.close(TIMEOUT_S)
        assert not lanes.alive


@pytest.fixture
def studio(make_studio: Callable[..., Studio]) -> Studio:
    return make_studio()
