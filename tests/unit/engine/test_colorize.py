"""The straight line with one network and with the blend of both, on a device that the test opens and shuts."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from PIL import Image
from torch import Tensor

from service.engine.admission import Admission
from service.engine.batcher import Answer, MicroBatcher
from service.engine.choice import BackboneChoice
from service.engine.colorize import ColoredPhotograph, Engine, Order
from service.engine.errors import BackboneUnavailableError, ClosedError, InferenceError, QueueFullError, WorkerDeadError
from service.engine.worker import DeviceWorker
from service.imaging.codec import ImageFormat
from service.telemetry.metrics import Metrics
from tests.pictures import to_bytes
from tests.unit.engine.gated_device import GatedDevice

pytestmark = pytest.mark.anyio

MOBILENET, RESNET, BLEND = BackboneChoice
NETWORKS = (MOBILENET, RESNET)

Batcher = MicroBatcher[Tensor, Tensor]


class Painter:
    """Networks that paint everything in one colour each, behind a gate; `moods` are the gated device's bad ones."""

    def __init__(self, gate: GatedDevice) -> None:
        self.colors: dict[str, tuple[float, float]] = {MOBILENET: (20.0, -30.0), RESNET: (10.0, 40.0)}
        self.moods: dict[str, str] = dict.fromkeys(NETWORKS, "good")
        self._gate = gate

    def run_batch(self, backbone: str, lightness: Sequence[Tensor]) -> list[Tensor]:
        self._gate.run_batch(backbone, [self.moods[backbone]] * len(lightness))
        return [torch.tensor(self.colors[backbone])[:, None, None].expand(2, 224, 224)] * len(lightness)


@pytest.fixture
def admission() -> Admission:
    return Admission(60)


@pytest.fixture
def batcher(admission: Admission) -> Batcher:
    return MicroBatcher(NETWORKS, max_batch_size=4, max_wait_s=0, admission=admission)


@pytest.fixture
def painter(device: GatedDevice) -> Painter:
    return Painter(device)


@pytest.fixture
def worker(
    batcher: Batcher, device: GatedDevice, painter: Painter, metrics: Metrics
) -> Iterator[DeviceWorker[Tensor, Tensor]]:
    worker = DeviceWorker(batcher, painter.run_batch, metrics)
    worker.start()
    yield worker
    device.open()
    batcher.close()
    worker.join()


@pytest.fixture
def engine(batcher: Batcher, worker: DeviceWorker[Tensor, Tensor], metrics: Metrics) -> Iterator[Engine]:
    with ThreadPoolExecutor(1) as decoders, ThreadPoolExecutor(1) as encoders:
        yield Engine(
            batcher,
            decoders,
            encoders,
            metrics,
            unavailable={RESNET: "no resnet101", BLEND: "no resnet101"},
            max_pixels=10**6,
            request_timeout_s=60,
        )


@pytest.fixture
def colorize(engine: Engine, gray_photo: Image.Image) -> Callable[[BackboneChoice], "asyncio.Task[ColoredPhotograph]"]:
    """Sends the same photograph off with one choice or another."""
    data = to_bytes(gray_photo, "PNG")

    def start(choice: BackboneChoice) -> "asyncio.Task[ColoredPhotograph]":
        order = Order(choice, ImageFormat.PNG, quality=90, saturation=1.0)
        return asyncio.create_task(engine.colorize(data, order))

    return start


Colorize = Callable[[BackboneChoice], "asyncio.Task[ColoredPhotograph]"]


def depths(batcher: Batcher) -> list[int]:
    return [batcher.depth(name) for name in NETWORKS]


async def submit(batcher: Batcher, *choices: BackboneChoice) -> list["asyncio.Task[list[Answer[Tensor]]]"]:
    """Queues what the engine would for decoded photographs, and returns while they wait."""
    lightness = torch.zeros(1, 224, 224)
    waiting = [asyncio.create_task(batcher.submit(choice.backbones, lightness)) for choice in choices]
    await asyncio.sleep(0)  # lets the tasks run up to their place in the queue
    return waiting


def ran(device: GatedDevice) -> list[tuple[str, int]]:
    """The networks that were run, with the sizes of their batches."""
    return [(backbone, len(items)) for backbone, items in device.batches]


async def test_the_blend_is_the_mean_of_both_predictions(
    colorize: Colorize, device: GatedDevice, painter: Painter
) -> None:
    device.open()
    blend = await colorize(BLEND)
    assert ran(device) == [(MOBILENET, 1), (RESNET, 1)]
    painter.colors[MOBILENET] = (15.0, 5.0)
    assert blend.data == (await colorize(MOBILENET)).data
    assert blend.data != (await colorize(RESNET)).data


async def test_a_single_choice_runs_its_network_alone(colorize: Colorize, device: GatedDevice) -> None:
    device.open()
    await colorize(RESNET)
    assert ran(device) == [(RESNET, 1)]


async def test_each_half_of_a_blend_is_batched_with_other_requests(
    colorize: Colorize, batcher: Batcher, device: GatedDevice
) -> None:
    first = colorize(RESNET)
    await asyncio.to_thread(device.wait_for_start)
    rest = await submit(batcher, BLEND, MOBILENET, RESNET, BLEND)
    assert depths(batcher) == [3, 3]
    device.open()
    await asyncio.gather(first, *rest)
    assert ran(device) == [(RESNET, 1), (MOBILENET, 3), (RESNET, 3)]


async def test_time_at_the_device_is_counted_once_and_by_choice(
    colorize: Colorize, device: GatedDevice, metrics: Metrics
) -> None:
    device.open()
    started = time.monotonic()
    colored = await colorize(BLEND)
    assert sum(colored.seconds.values()) <= time.monotonic() - started
    assert min(colored.seconds.values()) >= 0
    value = metrics.registry.get_sample_value
    for stage in ("decode", "queue", "inference", "recompose", "encode"):
        assert value("autochrome_stage_seconds_count", {"backbone": "blend", "stage": stage}) == 1
    for name in NETWORKS:
        assert value("autochrome_batches_total", {"backbone": name, "outcome": "ok"}) == 1
    assert value("autochrome_batches_total", {"backbone": "blend", "outcome": "ok"}) is None


async def test_the_half_that_fails_first_takes_the_other_with_it(
    colorize: Colorize, batcher: Batcher, device: GatedDevice, painter: Painter
) -> None:
    painter.moods[MOBILENET] = "bad"
    blend = colorize(BLEND)
    await asyncio.to_thread(device.wait_for_start)
    assert depths(batcher) == [0, 1]
    device.open()
    with pytest.raises(InferenceError):
        await blend
    assert depths(batcher) == [0, 0]
    await colorize(RESNET)
    # Its other half never reached the device, not even in the moment before the event loop heard of the failure.
    assert ran(device) == [(MOBILENET, 1), (RESNET, 1)]


async def test_a_failure_of_the_last_half_fails_the_blend(
    colorize: Colorize, batcher: Batcher, device: GatedDevice, painter: Painter
) -> None:
    painter.moods[RESNET] = "bad"
    device.open()
    with pytest.raises(InferenceError):
        await colorize(BLEND)
    assert ran(device) == [(MOBILENET, 1), (RESNET, 1)]
    assert depths(batcher) == [0, 0]
    assert (await colorize(MOBILENET)).data


async def test_a_client_that_leaves_takes_both_halves_along(
    colorize: Colorize, batcher: Batcher, device: GatedDevice
) -> None:
    first = colorize(MOBILENET)
    await asyncio.to_thread(device.wait_for_start)
    (leaving,) = await submit(batcher, BLEND)
    assert depths(batcher) == [1, 1]
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert depths(batcher) == [0, 0]
    device.open()
    await first
    assert ran(device) == [(MOBILENET, 1)]


async def test_a_client_that_leaves_between_the_halves_takes_the_second_along(
    colorize: Colorize, batcher: Batcher, device: GatedDevice
) -> None:
    leaving = colorize(BLEND)
    await asyncio.to_thread(device.wait_for_start)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert depths(batcher) == [0, 0]
    device.open()
    await colorize(MOBILENET)
    assert ran(device) == [(MOBILENET, 1)] * 2


async def test_a_deadline_withdraws_both_halves(colorize: Colorize, batcher: Batcher, device: GatedDevice) -> None:
    first = colorize(MOBILENET)
    await asyncio.to_thread(device.wait_for_start)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await batcher.submit(BLEND.backbones, torch.zeros(1, 224, 224))
    assert depths(batcher) == [0, 0]
    assert not first.done()


async def test_a_refused_blend_leaves_neither_half(
    colorize: Colorize, admission: Admission, batcher: Batcher, device: GatedDevice
) -> None:
    admission.observe(MOBILENET, size=1, seconds=61)
    first = colorize(MOBILENET)
    await asyncio.to_thread(device.wait_for_start)
    with pytest.raises(QueueFullError):
        await colorize(BLEND)
    assert depths(batcher) == [0, 0]
    assert not first.done()


async def test_a_blend_does_not_wait_for_itself(
    colorize: Colorize, admission: Admission, batcher: Batcher, device: GatedDevice
) -> None:
    """Or an idle service that is slow would refuse it for ever."""
    admission.observe(MOBILENET, size=1, seconds=61)
    admission.observe(RESNET, size=1, seconds=61)
    device.open()
    assert (await colorize(BLEND)).data


async def test_a_closing_service_finishes_both_halves_and_takes_no_more(
    colorize: Colorize, batcher: Batcher, device: GatedDevice
) -> None:
    blend = colorize(BLEND)
    await asyncio.to_thread(device.wait_for_start)
    batcher.close()
    with pytest.raises(ClosedError):
        await colorize(BLEND)
    device.open()
    assert (await blend).data


async def test_a_dead_worker_fails_a_blend_once(
    colorize: Colorize, batcher: Batcher, device: GatedDevice, painter: Painter
) -> None:
    painter.moods[MOBILENET] = "deadly"
    device.open()
    with pytest.raises(WorkerDeadError):
        await colorize(BLEND)
    assert depths(batcher) == [0, 0]
    assert ran(device) == [(MOBILENET, 1)]


@pytest.mark.parametrize("choice", [RESNET, BLEND])
async def test_what_lacks_weights_is_not_admitted(engine: Engine, choice: BackboneChoice) -> None:
    engine.admit(MOBILENET)
    with pytest.raises(BackboneUnavailableError, match="no resnet101"):
        engine.admit(choice)
