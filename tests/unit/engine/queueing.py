"""What tests of the queue do again and again."""

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress

from service.engine.batcher import Answer, Item, MicroBatcher, Result
from service.engine.worker import DeviceWorker
from tests.unit.engine.gated_device import GatedDevice


class AwaitedBatcher(MicroBatcher[Item, Result]):
    """A batcher whose answers can be awaited, as a line of requests waits for them."""

    async def answers(self, keys: Collection[str], item: Item) -> list[Answer[Result]]:
        """Queues an item and waits; whoever is cancelled is withdrawn."""
        loop, settled = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()
        told = 0

        def settle(outcome: list[Answer[Result]] | Exception) -> None:
            nonlocal told
            told += 1
            assert told == 1
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(give, outcome)

        def give(outcome: list[Answer[Result]] | Exception) -> None:
            if settled.done():
                return
            if isinstance(outcome, Exception):
                settled.set_exception(outcome)
            else:
                settled.set_result(outcome)

        withdraw = self.submit(keys, item, settle)
        try:
            answers: list[Answer[Result]] = await settled
            return answers
        finally:
            withdraw()


Batcher = AwaitedBatcher[str, str]
Worker = DeviceWorker[str, str]
StartWorker = Callable[..., Worker]
Waiting = asyncio.Task[list[Answer[str]]]


async def submit(batcher: Batcher, *items: str, key: str = "left") -> list[Waiting]:
    """Queues items, one after the other, and returns while they wait."""
    waiting = [asyncio.create_task(batcher.answers([key], item)) for item in items]
    await asyncio.sleep(0)  # lets the tasks run up to their place in the queue
    return waiting


async def occupy(batcher: Batcher, device: GatedDevice) -> Waiting:
    """Gives the device a batch of one to be busy with."""
    (waiting,) = await submit(batcher, "first")
    await asyncio.to_thread(device.wait_for_start)
    return waiting


async def results(waiting: list[Waiting]) -> list[str]:
    """What the items became."""
    return [answer.result for answers in await asyncio.gather(*waiting) for answer in answers]
