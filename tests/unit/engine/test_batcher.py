"""The queue's rules: what is bound together, when, and who leaves it; on a device that the test opens and shuts."""

import asyncio

import pytest

from service.engine.errors import ClosedError
from tests.unit.engine.gated_device import Clock, GatedDevice
from tests.unit.engine.queueing import AwaitedBatcher, Batcher, StartWorker, Worker, occupy, results, submit

pytestmark = pytest.mark.anyio


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
    batcher: Batcher = AwaitedBatcher(["left"], max_batch_size=3, max_wait_s=3600)
    start_worker(batcher)
    device.open()
    waiting = await submit(batcher, "a", "b")
    assert device.batches == []
    waiting += await submit(batcher, "c")
    assert await results(waiting) == ["A", "B", "C"]
    assert device.batches == [("left", ["a", "b", "c"])]


async def test_a_window_counts_from_the_oldest_arrival(
    device: GatedDevice, clock: Clock, start_worker: StartWorker
) -> None:
    """An entry that waited the window out behind a busy device does not wait again."""
    batcher: Batcher = AwaitedBatcher(["left"], 3, max_wait_s=3600, clock=clock)
    waiting = await submit(batcher, "a")
    clock.now = 3600
    waiting += await submit(batcher, "b")
    start_worker(batcher)
    device.open()
    answers = await asyncio.gather(*waiting)
    assert [answer.queue_s for (answer,) in answers] == [3600, 0]


async def test_closing_ends_a_window(device: GatedDevice, start_worker: StartWorker) -> None:
    batcher: Batcher = AwaitedBatcher(["left"], max_batch_size=3, max_wait_s=3600)
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


async def test_a_deadline_fires_on_its_own_timer(batcher: Batcher, device: GatedDevice, worker: Worker) -> None:
    await occupy(batcher, device)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await batcher.answers(["left"], "late")
    # The device is still busy with its first batch, and the late entry is gone from the queue.
    assert device.batches == [("left", ["first"])]
    assert batcher.depth("left") == 0


async def test_a_closed_batcher_finishes_its_queue(batcher: Batcher, device: GatedDevice, worker: Worker) -> None:
    first = await occupy(batcher, device)
    waiting = await submit(batcher, "a", "b")
    batcher.close()
    with pytest.raises(ClosedError):
        await batcher.answers(["left"], "too late")
    device.open()
    assert await results([first, *waiting]) == ["FIRST", "A", "B"]
    await asyncio.to_thread(worker.join)


async def test_stall_is_the_time_without_progress(device: GatedDevice, clock: Clock, start_worker: StartWorker) -> None:
    batcher: Batcher = AwaitedBatcher(["left"], 4, max_wait_s=0, clock=clock)
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


async def test_an_answer_tells_how_long_it_queued(device: GatedDevice, clock: Clock, start_worker: StartWorker) -> None:
    batcher: Batcher = AwaitedBatcher(["left", "right"], 4, max_wait_s=0, clock=clock)
    waiting = await submit(batcher, "a")
    clock.now = 7
    assert batcher.oldest_wait_s("left") == 7
    assert batcher.oldest_wait_s("right") == 0
    start_worker(batcher)
    device.open()
    assert [answer.queue_s for (answer,) in await asyncio.gather(*waiting)] == [7]


async def test_an_unknown_key_is_an_error(batcher: Batcher) -> None:
    with pytest.raises(KeyError):
        await batcher.answers(["left", "middle"], "a")
    assert batcher.depth("left") == 0


async def test_an_item_may_need_no_network_at_all(batcher: Batcher) -> None:
    assert await batcher.answers([], "a") == []
