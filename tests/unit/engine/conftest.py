"""A batcher and a worker on a gated device."""

from collections.abc import Callable, Iterator

import pytest
from prometheus_client import CollectorRegistry

from service.engine.admission import Admission
from service.engine.batcher import MicroBatcher
from service.engine.worker import DeviceWorker, RunBatch
from service.telemetry.metrics import Metrics
from tests.unit.engine.gated_device import GatedDevice

Worker = DeviceWorker[str, str]
StartWorker = Callable[..., Worker]


@pytest.fixture
def device() -> GatedDevice:
    return GatedDevice()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry())


@pytest.fixture
def batcher() -> MicroBatcher[str, str]:
    return MicroBatcher(["left", "right"], max_batch_size=4, max_wait_s=0, admission=Admission(60))


@pytest.fixture
def start_worker(device: GatedDevice, metrics: Metrics) -> Iterator[StartWorker]:
    """Puts a worker behind a batcher, on the gated device or another; both are ended after the test."""
    started: list[tuple[MicroBatcher[str, str], DeviceWorker[str, str]]] = []

    def start(batcher: MicroBatcher[str, str], run_batch: RunBatch[str, str] = device.run_batch) -> Worker:
        worker = DeviceWorker(batcher, run_batch, metrics)
        worker.start()
        started.append((batcher, worker))
        return worker

    yield start
    device.open()
    for batcher, worker in started:
        batcher.close()
        worker.join()


@pytest.fixture
def worker(batcher: MicroBatcher[str, str], start_worker: StartWorker) -> Worker:
    """A running worker behind `batcher`."""
    return start_worker(batcher)
