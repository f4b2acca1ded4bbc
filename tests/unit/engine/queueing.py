"""What tests of the queue do again and again."""

import asyncio
from collections.abc import Callable

from service.engine.batcher import Answer, MicroBatcher
from service.engine.worker import DeviceWorker
from tests.unit.engine.gated_device import GatedDevice

Batcher = MicroBatcher[str, str]
Worker = DeviceWorker[str, str]
StartWorker = Callable[..., Worker]
Waiting = asyncio.Task[list[Answer[str]]]


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
    """What the items became."""
    return [answer.result for answers in await asyncio.gather(*waiting) for answer in answers]
