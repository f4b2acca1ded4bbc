"""An engine with all its parts, on networks that paint everything in one colour each."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from service.engine.admission import Admission
from service.engine.choice import BackboneChoice
from service.engine.colorize import Engine
from service.engine.costs import BatchCosts
from service.engine.lanes import Lanes
from service.engine.memory import MemoryBudget
from service.engine.order import ColoredPhotograph, Order
from service.imaging.formats import ImageFormat
from tests.unit.engine.gated_device import GatedDevice
from tests.unit.engine.queueing import AwaitedBatcher

MOBILENET, RESNET, BLEND = BackboneChoice
NETWORKS = (MOBILENET, RESNET)

Coloring = asyncio.Task[ColoredPhotograph]


class Painter:
    """The networks, behind a gate; `moods` are the gated device's bad ones."""

    lead_s: float | None = None

    def __init__(self, gate: GatedDevice) -> None:
        self.seen: list[Tensor] = []
        self.colors: dict[str, tuple[float, float]] = {MOBILENET: (20.0, -30.0), RESNET: (10.0, 40.0)}
        self.error = 10.0
        """That they expect of their colours."""
        self.moods: dict[str, str] = dict.fromkeys(NETWORKS, "good")
        self._gate = gate

    def launch(self, backbone: str, canvases: Sequence[Tensor]) -> Callable[[], list[Tensor]]:
        self.seen.extend(canvases)
        finish = self._gate.launch(backbone, [self.moods[backbone]] * len(canvases))

        def paint() -> list[Tensor]:
            finish()
            answer = torch.tensor((*self.colors[backbone], self.error))
            return [answer[:, None, None].expand(3, 224, 224)] * len(canvases)

        return paint


@dataclass(frozen=True)
class Studio:
    """The engine, what it is made of, and a photograph for it."""

    engine: Engine
    batcher: AwaitedBatcher[Tensor, Tensor]
    costs: BatchCosts
    admission: Admission
    memory: MemoryBudget
    lanes: Lanes
    painter: Painter
    photo: bytes
    """A PNG of 160×120 pixels."""

    def make_cost(self, choice: BackboneChoice, size: int, seconds: float) -> None:
        """Has batches of a size take so long, as far as the service knows."""
        for _ in range(80):
            self.costs.observe(choice, size, seconds)

    def colorize(
        self, choice: BackboneChoice = MOBILENET, data: bytes | None = None, hints: Tensor | None = None
    ) -> Coloring:
        """Sends the photograph, or another, off."""
        order = Order(choice, ImageFormat.PNG, hints=hints)
        return asyncio.create_task(self._colorize(self.photo if data is None else data, order))

    async def _colorize(self, data: bytes, order: Order) -> ColoredPhotograph:
        """As the route does."""
        with self.memory.lease() as lease:
            lease.hold(len(data))
            return await self.engine.colorize(data, order, lease)
