"""The worker's rules: what fails fails alone, and a device that is broken is seen to be."""

import asyncio
import weakref
from collections.abc import Callable, Sequence

import pytest

from service.engine.batches import MAX_FAILURES_IN_A_ROW
from service.engine.costs import BatchCosts
from service.engine.errors import InferenceError, WorkerDeadError
from service.telemetry.metrics import Metrics
from tests.unit.engine.gated_device import Clock, GatedDevice
from tests.unit.engine.queueing import AwaitedBatcher, Batcher, StartWorker, Worker, occupy, results, submit

pytestmark = pytest.mark.anyio


async def test_leaving_a_running_batch_harms_nobody(batcher: Batcher, device: GatedDevice, worker: Worker) -> None:
    leaving = await occupy(batcher, device)
    staying = await submit(batcher, "a")
    leaving.cancel()
    device.open()
    assert await results(staying) == ["A"]
    assert worker.alive


async def test_a_poisoned_entry_fails_alone(
    batcher: Batcher, device: GatedDevice, worker: Worker, metrics: Metrics
) -> None:
    await occupy(batcher, device)
    waiting = await submit(batcher, "a", "bad", "c", "d")
    device.open()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(outcomes[1], InferenceError)
    assert [outcome[0].result for outcome in outcomes if isinstance(outcome, list)] == ["A", "C", "D"]
    registry = metrics.registry
    batches = "autochrome_batches_total"
    assert registry.get_sample_value(batches, {"backbone": "left", "outcome": "failed"}) == 3  # 4, 2, 1 entries
    assert registry.get_sample_value(batches, {"backbone": "left", "outcome": "ok"}) == 3  # first, a, c and d
    assert registry.get_sample_value("autochrome_batch_size_sum", {"backbone": "left"}) == 4


async def test_out_of_memory_halves_and_is_remembered(
    batcher: Batcher, device: GatedDevice, worker: Worker, metrics: Metrics
) -> None:
    await occupy(batcher, device)
    waiting = await submit(batcher, "big1", "big2", "c", "d", "e", "f")
    device.open()
    assert await results(waiting) == ["BIG1", "BIG2", "C", "D", "E", "F"]
    sizes = [len(items) for _, items in device.batches[1:]]
    assert sizes == [4, 2, 1, 1, 2, 1, 1]  # halved until it fits; then never more than one
    outcome = {"backbone": "left", "outcome": "out_of_memory"}
    assert metrics.registry.get_sample_value("autochrome_batches_total", outcome) == 2


@pytest.mark.parametrize("fails_at_launch", [False, True])
async def test_a_failed_batch_is_out_of_memory_before_its_halves_run(
    batcher: Batcher, start_worker: StartWorker, fails_at_launch: bool
) -> None:
    """The exception's traceback would keep all that the failed batch had allocated, just when memory is short."""

    class Activations:
        pass

    class SmallDevice:
        lead_s: float | None = None

        def __init__(self) -> None:
            self.alive: list[weakref.ref[Activations]] = []
            self.alive_at_start: list[int] = []

        def launch(self, _key: str, items: Sequence[str]) -> Callable[[], list[str]]:
            if not fails_at_launch:
                return lambda: self.run(items)
            results = self.run(items)
            return lambda: results

        def run(self, items: Sequence[str]) -> list[str]:
            self.alive_at_start.append(sum(activations() is not None for activations in self.alive))
            activations = Activations()
            self.alive.append(weakref.ref(activations))
            if len(items) > 1:
                raise MemoryError
            return list(items)

    device = SmallDevice()
    waiting = await submit(batcher, "a", "b", "c", "d")
    start_worker(batcher, device)
    assert await results(waiting) == ["a", "b", "c", "d"]
    assert device.alive_at_start == [0] * 7


async def test_an_entry_abandoned_while_its_batch_is_halved_is_not_run_again(
    batcher: Batcher, device: GatedDevice, worker: Worker
) -> None:
    await occupy(batcher, device)
    bad, leaving, staying = await submit(batcher, "bad", "leaves", "stays")
    device.finish()
    await asyncio.to_thread(device.wait_for_start)  # all three are at the device
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    device.open()
    assert await results([staying]) == ["STAYS"]
    with pytest.raises(InferenceError):
        await bad
    assert device.batches[1:] == [("left", ["bad", "leaves", "stays"]), ("left", ["bad"]), ("left", ["stays"])]


async def test_a_device_that_only_fails_ends_the_worker(batcher: Batcher, device: GatedDevice, worker: Worker) -> None:
    device.open()
    for _ in range(MAX_FAILURES_IN_A_ROW - 1):
        with pytest.raises(InferenceError):
            await batcher.answers(["left"], "bad")
    (good,) = await batcher.answers(["left"], "good")
    assert good.result == "GOOD"  # counts from the beginning again
    for _ in range(MAX_FAILURES_IN_A_ROW):
        assert worker.alive
        with pytest.raises(InferenceError):
            await batcher.answers(["left"], "bad")
    await asyncio.to_thread(worker.join)
    with pytest.raises(WorkerDeadError):
        await batcher.answers(["left"], "too late")


async def test_a_result_too_few_fails_the_batch_not_the_worker(batcher: Batcher, start_worker: StartWorker) -> None:
    class LossyDevice:
        lead_s: float | None = None

        def launch(self, _key: str, _items: Sequence[str]) -> Callable[[], list[str]]:
            return list

    worker = start_worker(batcher, LossyDevice())
    (waiting,) = await submit(batcher, "a")
    with pytest.raises(InferenceError):
        await waiting
    assert worker.alive


async def test_a_batch_that_cannot_even_be_launched_is_halved_as_well(
    batcher: Batcher, device: GatedDevice, worker: Worker
) -> None:
    await occupy(batcher, device)
    waiting = await submit(batcher, "a", "unfit", "c")
    device.open()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(outcomes[1], InferenceError)
    assert "ValueError" in str(outcomes[1])
    assert [outcome[0].result for outcome in outcomes if isinstance(outcome, list)] == ["A", "C"]
    assert [items for _, items in device.batches[1:]] == [["a", "unfit", "c"], ["a"], ["unfit", "c"], ["unfit"], ["c"]]


async def test_the_size_that_fits_is_remembered_for_its_key_alone(
    batcher: Batcher, device: GatedDevice, worker: Worker, costs: BatchCosts
) -> None:
    """By the queue, for the next batches, and by the costs, for the predictions."""
    await occupy(batcher, device)
    waiting = await submit(batcher, "big", "b", "c", "d", key="left")
    device.open()
    assert await results(waiting) == ["BIG", "B", "C", "D"]
    assert costs.predict("right", 4) == 10  # a batch
    assert costs.predict("left", 2) == pytest.approx(2 * costs.predict("left", 1))  # two
    batcher.limit_batch("left", 3)  # what is remembered never grows
    device.batches.clear()
    first = asyncio.create_task(batcher.answers(["right"], "first"))
    waiting = [asyncio.create_task(batcher.answers(["left", "right"], item)) for item in "wxyz"]
    assert [len(answers) for answers in await asyncio.gather(first, *waiting)] == [1, 2, 2, 2, 2]
    assert max(len(items) for key, items in device.batches if key == "left") == 1


async def test_costs_are_learnt_from_what_batches_take(
    device: GatedDevice, clock: Clock, costs: BatchCosts, start_worker: StartWorker
) -> None:
    batcher: Batcher = AwaitedBatcher(["left", "right"], 4, max_wait_s=0, clock=clock)
    start_worker(batcher)
    first = await occupy(batcher, device)
    clock.now = 15  # where ten were predicted
    device.open()
    ((answer,),) = await asyncio.gather(first)
    assert answer.inference_s == 15
    assert costs.predict("left", 1) == pytest.approx(11)
    assert costs.predict("right", 1) == 10


async def test_a_dead_worker_fails_everything_and_is_seen(
    batcher: Batcher, device: GatedDevice, worker: Worker
) -> None:
    await occupy(batcher, device)
    waiting = await submit(batcher, "deadly", "b")
    waiting += await submit(batcher, "c", key="right")
    device.open()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [WorkerDeadError] * 3
    await asyncio.to_thread(worker.join)
    assert not worker.alive
    with pytest.raises(WorkerDeadError):
        await batcher.answers(["left"], "too late")
