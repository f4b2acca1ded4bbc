"""The batcher's rules, on a device that the test opens and shuts."""

import asyncio
import weakref
from collections.abc import Callable, Sequence

import pytest

from service.engine.admission import Admission
from service.engine.batcher import Answer, MicroBatcher
from service.engine.errors import ClosedError, InferenceError, QueueFullError, WorkerDeadError
from service.engine.worker import MAX_FAILURES_IN_A_ROW, DeviceWorker
from service.telemetry.metrics import Metrics
from tests.unit.engine.gated_device import GatedDevice

pytestmark = pytest.mark.anyio

Batcher = MicroBatcher[str, str]
Worker = DeviceWorker[str, str]
StartWorker = Callable[..., Worker]
Waiting = asyncio.Task[list[Answer[str]]]


class Clock:
    """Time as the test says."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def submit(batcher: Batcher, *items: str, key: str = "left") -> list[Waiting]:
    """Queues items, one after the other, and returns while they wait."""
    waiting = [asyncio.create_task(batcher.submit([key], item)) for item in items]
    await asyncio.sleep(0)  # lets the tasks run up to their place in the queue
    return waiting


async def occupy(batcher: Batcher, device: GatedDevice) -> Waiting:
    """Gives the device a batch of one to be busy with."""
    (waiting,) = await submit(batcher, "first")
    await asyncio.to_thread(device.wait_for_start)
    return waiting


async def results(waiting: list[Waiting]) -> list[str]:
    return [answer.result for answers in await asyncio.gather(*waiting) for answer in answers]


async def test_an_idle_device_starts_at_once(batcher: Batcher, device: GatedDevice, worker: Worker) -> None:
    waiting = await submit(batcher, "a")
    await asyncio.to_thread(device.wait_for_start)
    device.finish()
    assert await results(waiting) == ["A"]


async def test_a_batch_is_bound_only_when_the_device_is_free(
    batcher: Batcher, device: GatedDevice, worker: Worker
) -> None:
    first = await occupy(batcher, device)
    early = await submit(batcher, "a")
    late = await submit(batcher, "b", "c")
    device.open()
    assert await results([first, *early, *late]) == ["FIRST", "A", "B", "C"]
    assert device.batches == [("left", ["first"]), ("left", ["a", "b", "c"])]


async def test_no_batch_is_larger_than_allowed(batcher: Batcher, device: GatedDevice, worker: Worker) -> None:
    await occupy(batcher, device)
    waiting = await submit(batcher, *"abcdefghij")
    device.open()
    assert await results(waiting) == list("ABCDEFGHIJ")
    assert [len(items) for _, items in device.batches] == [1, 4, 4, 2]


async def test_the_oldest_head_goes_first_across_keys(batcher: Batcher, device: GatedDevice, worker: Worker) -> None:
    await occupy(batcher, device)
    waiting = await submit(batcher, "r1", key="right")
    waiting += await submit(batcher, "l1", "l2", "l3", "l4", "l5")
    waiting += await submit(batcher, "r2", key="right")
    device.open()
    await asyncio.gather(*waiting)
    assert device.batches[1:] == [("right", ["r1", "r2"]), ("left", ["l1", "l2", "l3", "l4"]), ("left", ["l5"])]


async def test_a_window_collects_company_and_ends_when_the_batch_is_full(
    device: GatedDevice, start_worker: StartWorker
) -> None:
    batcher: Batcher = MicroBatcher(["left"], max_batch_size=3, max_wait_s=3600, admission=Admission(60))
    start_worker(batcher)
    device.open()
    waiting = await submit(batcher, "a", "b")
    assert device.batches == []
    waiting += await submit(batcher, "c")
    assert await results(waiting) == ["A", "B", "C"]
    assert device.batches == [("left", ["a", "b", "c"])]


async def test_a_window_counts_from_the_oldest_arrival(device: GatedDevice, start_worker: StartWorker) -> None:
    """An entry that waited the window out behind a busy device does not wait again."""
    clock = Clock()
    batcher: Batcher = MicroBatcher(["left"], 3, max_wait_s=3600, admission=Admission(60), clock=clock)
    waiting = await submit(batcher, "a")
    clock.now = 3600
    waiting += await submit(batcher, "b")
    start_worker(batcher)
    device.open()
    answers = await asyncio.gather(*waiting)
    assert [answer.queue_s for (answer,) in answers] == [3600, 0]


async def test_closing_ends_a_window(device: GatedDevice, start_worker: StartWorker) -> None:
    batcher: Batcher = MicroBatcher(["left"], max_batch_size=3, max_wait_s=3600, admission=Admission(60))
    start_worker(batcher)
    device.open()
    waiting = await submit(batcher, "a")
    batcher.close()
    assert await results(waiting) == ["A"]


async def test_a_cancelled_wait_leaves_the_queue(batcher: Batcher, device: GatedDevice, worker: Worker) -> None:
    await occupy(batcher, device)
    staying, leaving = await submit(batcher, "stays", "leaves")
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert batcher.depth("left") == 1
    device.open()
    assert await results([staying]) == ["STAYS"]
    assert device.batches[1:] == [("left", ["stays"])]


async def test_leaving_a_running_batch_harms_nobody(batcher: Batcher, device: GatedDevice, worker: Worker) -> None:
    leaving = await occupy(batcher, device)
    staying = await submit(batcher, "a")
    leaving.cancel()
    device.open()
    assert await results(staying) == ["A"]
    assert worker.alive


async def test_a_deadline_fires_on_its_own_timer(batcher: Batcher, device: GatedDevice, worker: Worker) -> None:
    await occupy(batcher, device)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await batcher.submit(["left"], "late")
    # The device is still busy with its first batch, and the late entry is gone from the queue.
    assert device.batches == [("left", ["first"])]
    assert batcher.depth("left") == 0


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


async def test_a_failed_batch_is_out_of_memory_before_its_halves_run(
    batcher: Batcher, start_worker: StartWorker
) -> None:
    """The exception's traceback would keep all that the failed batch had allocated, just when memory is short."""

    class Activations:
        pass

    alive: list[weakref.ref[Activations]] = []
    alive_at_start: list[int] = []

    def run_batch(_key: str, items: Sequence[str]) -> list[str]:
        alive_at_start.append(sum(activations() is not None for activations in alive))
        activations = Activations()
        alive.append(weakref.ref(activations))
        if len(items) > 1:
            raise MemoryError
        return list(items)

    waiting = await submit(batcher, "a", "b", "c", "d")
    start_worker(batcher, run_batch)
    assert await results(waiting) == ["a", "b", "c", "d"]
    assert alive_at_start == [0] * 7


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
            await batcher.submit(["left"], "bad")
    (good,) = await batcher.submit(["left"], "good")
    assert good.result == "GOOD"  # counts from the beginning again
    for _ in range(MAX_FAILURES_IN_A_ROW):
        assert worker.alive
        with pytest.raises(InferenceError):
            await batcher.submit(["left"], "bad")
    await asyncio.to_thread(worker.join)
    with pytest.raises(WorkerDeadError):
        await batcher.submit(["left"], "too late")


async def test_a_result_too_few_fails_the_batch_not_the_worker(batcher: Batcher, start_worker: StartWorker) -> None:
    worker = start_worker(batcher, lambda _key, _items: [])
    (waiting,) = await submit(batcher, "a")
    with pytest.raises(InferenceError):
        await waiting
    assert worker.alive


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
        await batcher.submit(["left"], "too late")


async def test_a_closed_batcher_finishes_its_queue(batcher: Batcher, device: GatedDevice, worker: Worker) -> None:
    first = await occupy(batcher, device)
    waiting = await submit(batcher, "a", "b")
    batcher.close()
    with pytest.raises(ClosedError):
        await batcher.submit(["left"], "too late")
    device.open()
    assert await results([first, *waiting]) == ["FIRST", "A", "B"]
    await asyncio.to_thread(worker.join)


async def test_time_decides_who_may_queue(device: GatedDevice, start_worker: StartWorker) -> None:
    admission = Admission(max_queue_wait_s=5)
    batcher: Batcher = MicroBatcher(["left"], max_batch_size=4, max_wait_s=0, admission=admission)
    batcher.batch_done("left", size=1, seconds=2)  # what a photograph costs
    start_worker(batcher)
    first = await occupy(batcher, device)
    waiting = await submit(batcher, "a", "b")
    with pytest.raises(QueueFullError) as refused:  # three photographs of two seconds are before it
        await batcher.submit(["left"], "c")
    assert refused.value.retry_after_s == 1
    with pytest.raises(QueueFullError):
        batcher.admit()
    device.open()
    assert await results([first, *waiting]) == ["FIRST", "A", "B"]
    batcher.admit()


async def test_stall_is_the_time_without_progress(device: GatedDevice, start_worker: StartWorker) -> None:
    clock = Clock()
    batcher: Batcher = MicroBatcher(["left"], 4, max_wait_s=0, admission=Admission(60), clock=clock)
    start_worker(batcher)
    clock.now = 100
    assert batcher.stalled_s() == 0  # nothing was to be done
    first = await occupy(batcher, device)
    clock.now = 130
    second = await submit(batcher, "a")
    assert batcher.stalled_s() == 30
    device.finish()
    await first
    await asyncio.to_thread(device.wait_for_start)
    assert batcher.stalled_s() == 0  # a batch was finished just now, though there is more to do
    clock.now = 135
    assert batcher.stalled_s() == 5
    device.open()
    await asyncio.gather(*second)


async def test_an_answer_tells_how_long_it_queued(device: GatedDevice, start_worker: StartWorker) -> None:
    clock = Clock()
    batcher: Batcher = MicroBatcher(["left", "right"], 4, max_wait_s=0, admission=Admission(60), clock=clock)
    waiting = await submit(batcher, "a")
    clock.now = 7
    assert batcher.oldest_wait_s("left") == 7
    assert batcher.oldest_wait_s("right") == 0
    start_worker(batcher)
    device.open()
    assert [answer.queue_s for (answer,) in await asyncio.gather(*waiting)] == [7]


async def test_an_unknown_key_is_an_error(batcher: Batcher) -> None:
    with pytest.raises(KeyError):
        await batcher.submit(["left", "middle"], "a")
    assert batcher.depth("left") == 0
