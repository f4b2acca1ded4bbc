"""Late binding on a device that is given its next batch before the running one has ended."""

import asyncio

import pytest

from service.engine.costs import BatchCosts
from service.engine.errors import InferenceError, WorkerDeadError
from tests.unit.engine.gated_device import Clock, GatedDevice
from tests.unit.engine.queueing import AwaitedBatcher, Batcher, StartWorker, Waiting, Worker, occupy, results, submit

pytestmark = pytest.mark.anyio

COST_S, LEAD_S = 10.0, 2.0
DUE_S = 0.8 * COST_S - LEAD_S  # when the batch after a first one is closed


@pytest.fixture
def device() -> GatedDevice:
    return GatedDevice(LEAD_S)


@pytest.fixture
def batcher(clock: Clock) -> Batcher:
    return AwaitedBatcher(["left", "right"], max_batch_size=4, max_wait_s=0, clock=clock)


@pytest.fixture
def worker(batcher: Batcher, start_worker: StartWorker) -> Worker:
    return start_worker(batcher)


async def later(batcher: Batcher, clock: Clock, now: float) -> None:
    """Lets time pass, and the worker notice."""
    clock.forget()
    clock.now = now
    await batcher.answers([], "nothing")  # wakes it
    await asyncio.to_thread(clock.wait_for_the_worker)


async def let_go(batcher: Batcher, device: GatedDevice, clock: Clock) -> None:
    """Opens the gate, and lets time fly."""
    clock.flies = True
    device.open()
    await batcher.answers([], "nothing")  # wakes the worker


async def launch_two(batcher: Batcher, device: GatedDevice, clock: Clock, *items: str) -> list[Waiting]:
    """A batch of one at the device, and one of these items launched behind it."""
    first = await occupy(batcher, device)
    waiting = await submit(batcher, *items)
    await later(batcher, clock, clock.now + DUE_S)
    await asyncio.to_thread(device.wait_for_start)
    return [first, *waiting]


async def test_the_next_batch_is_closed_just_before_the_running_one_ends(
    batcher: Batcher, device: GatedDevice, clock: Clock, worker: Worker
) -> None:
    first = await occupy(batcher, device)
    waiting = await submit(batcher, "a")
    await later(batcher, clock, DUE_S - 1)
    waiting += await submit(batcher, "b")
    await later(batcher, clock, DUE_S - 0.01)
    # The worker has looked at the queue again, and again it left them.
    assert (device.batches, batcher.depth("left")) == ([("left", ["first"])], 2)
    clock.now = DUE_S
    waiting += await submit(batcher, "c")
    await asyncio.to_thread(device.wait_for_start)
    assert device.batches[1:] == [("left", ["a", "b", "c"])]
    # The device was never told to finish: the second was launched while the first one ran.
    assert not first.done()
    await let_go(batcher, device, clock)
    assert await results([first, *waiting]) == ["FIRST", "A", "B", "C"]


async def test_the_end_of_the_second_is_predicted_from_the_end_of_the_first(
    batcher: Batcher, device: GatedDevice, clock: Clock, worker: Worker
) -> None:
    """Its launch was `LEAD_S` before: counted from there, each batch would be closed earlier than the one before."""
    waiting = await launch_two(batcher, device, clock, "a")
    clock.now = COST_S
    device.finish()
    assert await results(waiting[:1]) == ["FIRST"]
    late = await submit(batcher, "b")
    await later(batcher, clock, COST_S + DUE_S - 0.01)
    assert batcher.depth("left") == 1
    late += await submit(batcher, "c")
    await later(batcher, clock, COST_S + DUE_S)
    await asyncio.to_thread(device.wait_for_start)
    assert device.batches[2:] == [("left", ["b", "c"])]
    await let_go(batcher, device, clock)
    assert await results([*waiting, *late]) == ["FIRST", "A", "B", "C"]


async def test_nothing_due_means_nothing_launched_until_the_device_is_free(
    batcher: Batcher, device: GatedDevice, clock: Clock, worker: Worker
) -> None:
    first = await occupy(batcher, device)
    await later(batcher, clock, DUE_S)
    # The worker has gone on to wait for the first batch: now the next one starts when that has ended.
    await asyncio.to_thread(device.wait_for_collect)
    late = await submit(batcher, "late")
    assert len(device.batches) == 1
    device.finish()
    assert await results([first]) == ["FIRST"]
    await asyncio.to_thread(device.wait_for_start)
    await let_go(batcher, device, clock)
    assert await results(late) == ["LATE"]
    assert device.batches == [("left", ["first"]), ("left", ["late"])]


async def test_no_more_than_two_are_under_way_and_they_end_in_their_order(
    batcher: Batcher, device: GatedDevice, clock: Clock, worker: Worker
) -> None:
    waiting = await launch_two(batcher, device, clock, "a")
    waiting += await submit(batcher, "b", "c", "d", "e", "f", "g")
    clock.flies = True  # the third has been due for long, but the first holds the worker
    assert (len(device.batches), batcher.depth("left")) == (2, 6)
    device.finish()
    await asyncio.to_thread(device.wait_for_start)
    assert len(device.batches) - (len(device.collected) - 1) <= 2
    await let_go(batcher, device, clock)
    assert await results(waiting) == ["FIRST", *"ABCDEFG"]
    assert device.collected == [items for _, items in device.batches]
    assert device.collected == [["first"], ["a"], ["b", "c", "d", "e"], ["f", "g"]]


async def test_the_oldest_head_is_launched_behind_the_running_batch(
    batcher: Batcher, device: GatedDevice, clock: Clock, worker: Worker
) -> None:
    first = await occupy(batcher, device)
    clock.now = 1
    waiting = await submit(batcher, "r", key="right")
    clock.now = 2
    waiting += await submit(batcher, "l")
    await later(batcher, clock, DUE_S)
    await asyncio.to_thread(device.wait_for_start)
    assert device.batches[1:] == [("right", ["r"])]
    await let_go(batcher, device, clock)
    assert await results([first, *waiting]) == ["FIRST", "R", "L"]


async def test_a_batch_that_fails_while_the_next_is_launched_is_retried_after_it(
    batcher: Batcher, device: GatedDevice, clock: Clock, worker: Worker
) -> None:
    waiting = await launch_two(batcher, device, clock, "bad", "b")
    waiting += await submit(batcher, "c", "d")
    await let_go(batcher, device, clock)
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(outcomes[1], InferenceError)
    assert [outcome[0].result for outcome in outcomes if isinstance(outcome, list)] == ["FIRST", "B", "C", "D"]
    # Launched behind the one that failed, c and d are collected before it is tried again.
    assert [items for _, items in device.batches] == [["first"], ["bad", "b"], ["c", "d"], ["bad"], ["b"]]
    assert device.collected == [["first"], ["bad", "b"], ["c", "d"], ["bad"], ["b"]]
    assert worker.alive


async def test_both_may_fail(batcher: Batcher, device: GatedDevice, clock: Clock, worker: Worker) -> None:
    waiting = await launch_two(batcher, device, clock, "big", "b")
    waiting += await submit(batcher, "bad", "d")
    await let_go(batcher, device, clock)
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(outcomes[3], InferenceError)
    assert [outcome[0].result for outcome in outcomes if isinstance(outcome, list)] == ["FIRST", "BIG", "B", "D"]
    # The second was launched before the first was known not to fit.
    assert [items for _, items in device.batches[1:]] == [["big", "b"], ["bad", "d"], ["big"], ["b"], ["bad"], ["d"]]


async def test_a_launch_that_fails_waits_for_the_running_batch(
    batcher: Batcher, device: GatedDevice, clock: Clock, worker: Worker
) -> None:
    first, unfit, other = await launch_two(batcher, device, clock, "unfit", "b")
    device.finish()
    assert await results([first]) == ["FIRST"]
    await let_go(batcher, device, clock)
    assert await results([other]) == ["B"]
    with pytest.raises(InferenceError):
        await unfit


async def test_a_client_that_leaves_before_the_launch_is_not_computed_for(
    batcher: Batcher, device: GatedDevice, clock: Clock, worker: Worker
) -> None:
    first = await occupy(batcher, device)
    leaving, staying = await submit(batcher, "leaves", "stays")
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    await let_go(batcher, device, clock)
    assert await results([first, staying]) == ["FIRST", "STAYS"]
    assert device.batches[1:] == [("left", ["stays"])]


async def test_a_worker_that_dies_fails_both_that_are_under_way_and_the_queue(
    batcher: Batcher, device: GatedDevice, clock: Clock, worker: Worker
) -> None:
    first, *waiting = await launch_two(batcher, device, clock, "deadly")
    device.finish()
    assert await results([first]) == ["FIRST"]
    waiting += await submit(batcher, "b")
    await later(batcher, clock, 1000)
    await asyncio.to_thread(device.wait_for_start)
    waiting += await submit(batcher, "c", key="right")
    await let_go(batcher, device, clock)
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [WorkerDeadError] * 3
    assert device.collected[-1] == ["deadly"]


async def test_closing_finishes_what_is_under_way_and_queued(
    batcher: Batcher, device: GatedDevice, clock: Clock, worker: Worker
) -> None:
    waiting = await launch_two(batcher, device, clock, "a")
    waiting += await submit(batcher, "b")
    clock.flies = True
    batcher.close()
    device.open()
    assert await results(waiting) == ["FIRST", "A", "B"]
    await asyncio.to_thread(worker.join)


async def test_a_prediction_that_is_too_long_corrects_itself(
    batcher: Batcher, device: GatedDevice, clock: Clock, worker: Worker, costs: BatchCosts
) -> None:
    """One slow batch, by raising the prediction, must not hold all later ones back, and be confirmed by them."""
    device.open()
    first = await occupy(batcher, device)
    await later(batcher, clock, DUE_S)
    assert await results([first]) == ["FIRST"]
    assert costs.predict("left", 1) < COST_S
