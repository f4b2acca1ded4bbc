"""The one thread that owns the device."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from service.engine.batcher import Entry, Item, MicroBatcher, Result
from service.engine.costs import BatchCosts
from service.engine.errors import InferenceError, WorkerDeadError
from service.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

T = TypeVar("T")
Item_contra = TypeVar("Item_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)

MAX_FAILURES_IN_A_ROW = 8
"""So many photographs that failed alone, with none coloured between them: it is the device that is broken."""

_TRUST = 0.8
"""The share of a batch's predicted time after which its end is waited for."""

Finish = Callable[[], Sequence[Result]]
"""Waits for a launched batch; its results, in the order of the items."""


class Launcher(Protocol[Item_contra, Result_co]):
    """What the worker needs of a `Device`."""

    @property
    def lead_s(self) -> float | None:
        """See `Device`."""

    def launch(self, backbone: str, lightness: Sequence[Item_contra], /) -> Callable[[], Sequence[Result_co]]:
        """See `Device`."""


class DeviceFailedError(Exception):
    """The device only fails; ends the worker, so that liveness turns red."""


@dataclass(frozen=True, slots=True)
class _Failure:
    """What is kept of an exception: itself it would hold on to all that the failed batch had in memory."""

    reason: str
    out_of_memory: bool


@dataclass(frozen=True, slots=True)
class _Launched(Generic[Item, Result]):
    entries: Sequence[Entry[Item, Result]]
    finish: Finish[Result] | _Failure
    at: float
    """In the batcher's time."""
    cost_s: float
    """Predicted."""


class DeviceWorker(Generic[Item, Result]):
    """Takes batches as fast as the device runs them, and answers for every entry it takes."""

    def __init__(
        self, batcher: MicroBatcher[Item, Result], device: Launcher[Item, Result], costs: BatchCosts, metrics: Metrics
    ) -> None:
        self._batcher = batcher
        self._device = device
        self._costs = costs
        self._metrics = metrics
        self._free_at = 0.0  # when the device finished its last batch
        self._failures_in_a_row = 0
        self._thread = threading.Thread(target=self._work, name="device-worker", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether batches are being served."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begins to serve."""
        self._thread.start()

    def join(self, timeout_s: float | None = None) -> None:
        """Waits until the closed batcher's queue is finished, or for as long as is given."""
        self._thread.join(timeout_s)

    def _work(self) -> None:
        try:
            self._serve()
        except BaseException:
            # Nothing may hang on a dead worker: those who wait are told, and liveness turns red.
            logger.critical("the device worker has died", exc_info=True)
            self._batcher.abort(WorkerDeadError("the device worker has died; the service must be restarted"))

    def _serve(self) -> None:
        lead_s = self._device.lead_s
        running: _Launched[Item, Result] | None = None
        while True:
            entries = self._batcher.next_batch(None if running is None else self._due(running, lead_s or 0.0))
            if entries is None:
                return
            launched = self._launch(entries)
            failed = [] if running is None else self._collect(running)
            running = launched
            if running is not None and (failed or lead_s is None or isinstance(running.finish, _Failure)):
                failed += self._collect(running)
                running = None
            self._retry(failed)

    def _due(self, running: "_Launched[Item, Result]", lead_s: float) -> float:
        """When the batch after this one is closed."""
        # Not the whole prediction: a batch that ended before it would be collected late, and seem to confirm it.
        return max(running.at, self._free_at) + _TRUST * running.cost_s - lead_s

    def _launch(self, entries: Sequence[Entry[Item, Result]]) -> "_Launched[Item, Result] | None":
        """Starts a batch of those who still wait, if any."""
        waiting = [entry for entry in entries if not entry.abandoned]
        if gone := [entry for entry in entries if entry not in waiting]:
            self._batcher.answered(gone)
        if not waiting:
            return None
        key, now = waiting[0].key, self._batcher.clock()
        for entry in waiting:
            entry.started = now
        finish = self._attempt(key, waiting, lambda: self._device.launch(key, [entry.item for entry in waiting]))
        return _Launched(waiting, finish, now, self._costs.predict(key, len(waiting)))

    def _collect(self, batch: "_Launched[Item, Result]") -> "list[Sequence[Entry[Item, Result]]]":
        """Answers for a launched batch; if it failed, its halves come back, to be tried again."""
        key, entries, finish = batch.entries[0].key, batch.entries, batch.finish
        outcome = (
            finish
            if isinstance(finish, _Failure)
            else self._attempt(key, entries, lambda: list(zip(entries, finish(), strict=True)))
        )
        begun = max(batch.at, self._free_at)
        self._free_at = self._batcher.clock()
        self._metrics.batch_seconds.labels(key).observe(self._free_at - begun)
        if isinstance(outcome, _Failure):
            if len(entries) > 1:
                return self._halve(key, entries, outcome)
            self._fail(entries[0], outcome)
        else:
            self._succeed(key, outcome, self._free_at - begun)
        self._batcher.answered(entries)
        return []

    def _retry(self, failed: "list[Sequence[Entry[Item, Result]]]") -> None:
        """Runs what failed, in ever smaller pieces, until the failure is alone with its cause."""
        pieces = deque(failed)
        while pieces:
            if (launched := self._launch(pieces.popleft())) is not None:
                pieces.extendleft(reversed(self._collect(launched)))

    def _attempt(self, key: str, entries: Sequence[Entry[Item, Result]], step: Callable[[], T]) -> "T | _Failure":
        try:
            return step()
        except Exception as error:
            out_of_memory = isinstance(error, MemoryError)
            self._metrics.batches.labels(key, "out_of_memory" if out_of_memory else "failed").inc()
            alone = len(entries) == 1
            logger.warning("a batch failed", extra={"backbone": key, "size": len(entries)}, exc_info=alone)
            return _Failure("out of memory" if out_of_memory else type(error).__name__, out_of_memory)

    def _succeed(self, key: str, outcome: Sequence[tuple[Entry[Item, Result], Result]], seconds: float) -> None:
        self._failures_in_a_row = 0
        self._metrics.batches.labels(key, "ok").inc()
        self._metrics.batch_size.labels(key).observe(len(outcome))
        self._costs.observe(key, len(outcome), seconds)
        for entry, result in outcome:
            entry.resolve(result, seconds)

    def _halve(
        self, key: str, entries: Sequence[Entry[Item, Result]], failure: _Failure
    ) -> "list[Sequence[Entry[Item, Result]]]":
        middle = len(entries) // 2
        if failure.out_of_memory:
            self._batcher.limit_batch(key, middle)
            self._costs.limit(key, middle)
        return [entries[:middle], entries[middle:]]

    def _fail(self, entry: Entry[Item, Result], failure: _Failure) -> None:
        entry.fail(InferenceError(f"the network failed on this photograph: {failure.reason}"))
        self._failures_in_a_row += 1
        if self._failures_in_a_row == MAX_FAILURES_IN_A_ROW:
            raise DeviceFailedError(f"the device failed on {MAX_FAILURES_IN_A_ROW} photographs in a row")
