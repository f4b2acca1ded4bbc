"""Who runs the batches: a thread that owns the GPU, or the lanes."""

import logging
import threading
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Generic, Protocol

from service.engine.batcher import Entry, Item, MicroBatcher, Result
from service.engine.batches import BatchRunner, Failure, Item_contra, Launched, Launcher, Result_co
from service.engine.costs import BatchCosts
from service.engine.errors import WorkerDeadError
from service.engine.lanes import Lanes
from service.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

_TRUST = 0.8
"""The share of a batch's predicted time after which its end is waited for."""


_TRIED_AGAIN = 100
"""Photographs, after which all cores are tried for one that is alone, although they were slower."""


class Worker(Protocol):
    """What the rest of the engine sees of it."""

    @property
    def alive(self) -> bool:
        """Whether batches are being served; the lanes themselves are asked as well."""

    def start(self) -> None:
        """Begins to serve."""

    def join(self, timeout_s: float | None = None) -> None:
        """Waits until the closed batcher's queue is finished, or for as long as is given."""


class OverlappingLauncher(Launcher[Item_contra, Result_co], Protocol):
    """What is needed of a device that a thread of its own serves."""

    @property
    def lead_s(self) -> float | None:
        """See `Device`."""


class SpreadLauncher(Launcher[Item_contra, Result_co], Protocol):
    """What computes each batch on several cores."""

    @property
    def cores(self) -> Mapping[str, int]:
        """So many, by key."""


class LaneDevice(Protocol[Item_contra, Result_co]):
    """What is needed of a device whose cores the lanes are."""

    @property
    def on_one_core(self) -> Launcher[Item_contra, Result_co]:
        """For each lane."""

    @property
    def on_many_cores(self) -> SpreadLauncher[Item_contra, Result_co]:
        """For one photograph, while the other lanes have nothing to do."""


class DeviceWorker(Generic[Item, Result]):
    """A thread that owns the device: takes batches as fast as it runs them, and answers for every entry it takes."""

    def __init__(
        self,
        batcher: MicroBatcher[Item, Result],
        device: OverlappingLauncher[Item, Result],
        costs: BatchCosts,
        metrics: Metrics,
    ) -> None:
        self._batcher = batcher
        self._runner = BatchRunner(batcher, device, costs, metrics)
        self._costs = costs
        self._lead_s = device.lead_s
        self._free_at = 0.0  # when the device finished its last batch
        self._thread = threading.Thread(target=self._work, name="device-worker", daemon=True)

    @property
    def alive(self) -> bool:
        """See `Worker`."""
        return self._thread.is_alive()

    def start(self) -> None:
        """See `Worker`."""
        self._thread.start()

    def join(self, timeout_s: float | None = None) -> None:
        """See `Worker`."""
        self._thread.join(timeout_s)

    def _work(self) -> None:
        try:
            self._serve()
        except BaseException:
            _abort(self._batcher)

    def _serve(self) -> None:
        running: Launched[Item, Result] | None = None
        while True:
            entries = self._batcher.next_batch(None if running is None else self._due(running))
            if entries is None:
                return
            launched = self._runner.launch(entries)
            failed = [] if running is None else self._collect(running)
            running = launched
            if running is not None and (failed or self._lead_s is None or isinstance(running.finish, Failure)):
                failed += self._collect(running)
                running = None
            if failed:
                self._runner.retry(failed)
                self._free_at = self._batcher.clock()

    def _due(self, running: Launched[Item, Result]) -> float:
        """When the batch after this one is closed."""
        # Not the whole prediction: a batch that ended before it would be collected late, and seem to confirm it.
        cost_s = self._costs.predict(running.entries[0].key, len(running.entries))
        return max(running.at, self._free_at) + _TRUST * cost_s - (self._lead_s or 0.0)

    def _collect(self, batch: Launched[Item, Result]) -> list[Sequence[Entry[Item, Result]]]:
        failed = self._runner.collect(batch, self._free_at)
        self._free_at = self._batcher.clock()
        return failed


class LaneWorker(Generic[Item, Result]):
    """The lanes as the device: each runs batches on its own core, and a photograph that is alone gets several."""

    def __init__(
        self,
        batcher: MicroBatcher[Item, Result],
        lanes: Lanes,
        device: LaneDevice[Item, Result],
        costs: BatchCosts,
        costs_alone: BatchCosts,
        metrics: Metrics,
    ) -> None:
        """`costs` are those of one core, `costs_alone` those of several."""
        self._batcher = batcher
        self._lanes = lanes
        self._on_one_core = BatchRunner(batcher, device.on_one_core, costs, metrics)
        self._on_many_cores = BatchRunner(batcher, device.on_many_cores, costs_alone, metrics)
        self._costs = costs
        self._costs_alone = costs_alone
        self._cores_alone = device.on_many_cores.cores
        self._photographs = 0
        self._dead = False

    @property
    def alive(self) -> bool:
        """See `Worker`."""
        return not self._dead

    def start(self) -> None:
        """See `Worker`."""
        self._batcher.on_queued = self._queued

    def join(self, timeout_s: float | None = None) -> None:
        """Has nothing to wait for: the lanes end when all is done."""

    def _queued(self, entry: Entry[Item, Result]) -> None:
        self._lanes.post(entry.order, partial(self._serve, entry.key))

    def _serve(self, key: str) -> None:
        """On a lane, once for each entry; who comes for one that was taken in another's batch finds nothing."""
        size = self._costs.cheapest(key)
        # Company that only has to be decoded is fetched in, where a larger batch costs less a photograph.
        while 0 < self._batcher.depth(key) < size and (newcomer := self._lanes.take_newcomer(key)) is not None:
            newcomer()
        if not (entries := self._batcher.take(key, size)):
            return
        spreads = len(entries) == 1 and self._is_worth_all_cores(key)
        try:
            with self._lanes.reserve(self._cores_alone[key]) if spreads else nullcontext(False) as alone:
                (self._on_many_cores if alone else self._on_one_core).run(entries)
        except BaseException:
            _abort(self._batcher)
            self._dead = True

    def _is_worth_all_cores(self, key: str) -> bool:
        # What is not used is not measured: now and then it is used whatever is known of it.
        self._photographs += 1
        tries = self._cores_alone[key] > 1 and self._photographs % _TRIED_AGAIN == 0
        return tries or self._costs_alone.predict(key, 1) < self._costs.predict(key, 1)


def _abort(batcher: MicroBatcher[Item, Result]) -> None:
    """Nothing may hang on a dead worker: those who wait are told, and liveness turns red."""
    logger.critical("the device worker has died", exc_info=True)
    batcher.abort(WorkerDeadError("the device worker has died; the service must be restarted"))
