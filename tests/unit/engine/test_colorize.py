"""The straight line with one network and with the blend of both, on a device that the test opens and shuts."""

import asyncio
import time
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from service.engine.admission import Stage
from service.engine.batcher import Answer
from service.engine.choice import BackboneChoice
from service.engine.errors import (
    BackboneUnavailableError,
    ClosedError,
    DeadlineError,
    InferenceError,
    QueueFullError,
    WorkerDeadError,
)
from service.telemetry.metrics import Metrics
from tests.pictures import from_bytes
from tests.unit.engine.gated_device import GatedDevice
from tests.unit.engine.queueing import AwaitedBatcher
from tests.unit.engine.studio import BLEND, MOBILENET, NETWORKS, RESNET, Coloring, Painter, Studio

pytestmark = pytest.mark.anyio

Batcher = AwaitedBatcher[Tensor, Tensor]
Colorize = Callable[[BackboneChoice], Coloring]


@pytest.fixture
def batcher(studio: Studio) -> Batcher:
    return studio.batcher


@pytest.fixture
def painter(studio: Studio) -> Painter:
    return studio.painter


@pytest.fixture
def colorize(studio: Studio) -> Colorize:
    return studio.colorize


def depths(batcher: Batcher) -> list[int]:
    return [batcher.depth(name) for name in NETWORKS]


async def submit(batcher: Batcher, *choices: BackboneChoice) -> list["asyncio.Task[list[Answer[Tensor]]]"]:
    """Queues what the engine would for decoded photographs, and returns while they wait."""
    lightness = torch.zeros(1, 224, 224)
    waiting = [asyncio.create_task(batcher.answers(choice.backbones, lightness)) for choice in choices]
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
    mobilenet, resnet = await colorize(MOBILENET), await colorize(RESNET)
    # Their metadata name the networks.
    assert from_bytes(blend.data).tobytes() == from_bytes(mobilenet.data).tobytes()
    assert from_bytes(blend.data).tobytes() != from_bytes(resnet.data).tobytes()


async def test_a_single_choice_runs_its_network_alone(colorize: Colorize, device: GatedDevice) -> None:
    device.open()
    await colorize(RESNET)
    assert ran(device) == [(RESNET, 1)]


async def test_hints_reach_the_device_behind_the_lightness(
    studio: Studio, painter: Painter, device: GatedDevice
) -> None:
    device.open()
    hints = torch.rand(3, 224, 224)
    await studio.colorize()
    await studio.colorize(hints=hints)
    without, hinted = painter.seen
    assert (without.shape, hinted.shape) == ((1, 224, 224), (4, 224, 224))
    assert torch.equal(hinted[:1], without)
    assert torch.equal(hinted[1:], hints)


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
            await batcher.answers(BLEND.backbones, torch.zeros(1, 224, 224))
    assert depths(batcher) == [0, 0]
    assert not first.done()


async def test_a_refused_blend_leaves_neither_half(
    colorize: Colorize, studio: Studio, batcher: Batcher, device: GatedDevice
) -> None:
    studio.make_cost(MOBILENET, 1, 200.8)
    first = colorize(MOBILENET)
    await asyncio.to_thread(device.wait_for_start)
    with pytest.raises(QueueFullError):
        await colorize(BLEND)
    assert depths(batcher) == [0, 0]
    assert not first.done()


async def test_a_blend_does_not_wait_for_itself(
    colorize: Colorize, studio: Studio, batcher: Batcher, device: GatedDevice
) -> None:
    """Or an idle service that is slow would refuse it for ever."""
    for name in NETWORKS:
        studio.make_cost(name, 1, 200.8)
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
async def test_what_lacks_weights_is_not_admitted(studio: Studio, choice: BackboneChoice) -> None:
    studio.engine.admit(MOBILENET)
    with pytest.raises(BackboneUnavailableError, match="no resnet101"):
        studio.engine.admit(choice)


async def test_too_long_a_line_is_refused_at_the_door_as_well(
    colorize: Colorize, studio: Studio, device: GatedDevice
) -> None:
    studio.make_cost(MOBILENET, 1, 200.8)
    first = colorize(MOBILENET)
    await asyncio.to_thread(device.wait_for_start)
    with pytest.raises(QueueFullError) as refused:
        studio.engine.admit(MOBILENET)
    assert refused.value.retry_after_s == 141  # of a batch of two hundred seconds, sixty may be waited for
    device.open()
    await first
    studio.engine.admit(MOBILENET)


async def test_each_stage_counts_who_is_in_it_and_learns_from_it(
    colorize: Colorize, studio: Studio, device: GatedDevice
) -> None:
    device.open()
    await colorize(MOBILENET)
    # Nobody is left, and what was learnt of decoding and encoding shows with the next one inside.
    assert studio.admission.predicted_wait_s() == 0
    for stage in (Stage.DECODING, Stage.WRITING):
        with studio.admission.inside([]) as place:
            place.stage = stage
            assert studio.admission.predicted_wait_s() > 0


async def test_the_deadline_is_of_the_whole_way(make_studio: Callable[..., Studio], device: GatedDevice) -> None:
    studio = make_studio(request_timeout_s=0.2)
    first = studio.colorize(MOBILENET)
    second = studio.colorize(MOBILENET)
    # The device never finishes: the deadlines pass on their own, of the one that runs and of the one that may wait.
    for coloring in (first, second):
        with pytest.raises(DeadlineError, match=r"not finished within 0\.2 s"):
            await coloring
    assert depths(studio.batcher) == [0, 0]
    assert studio.admission.predicted_wait_s() == 0
