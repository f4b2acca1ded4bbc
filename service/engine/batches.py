"""Running batches and answering for them: what fails fails alone, and a device that is broken is seen to be."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from service.engine.batcher import Entry, Item, MicroBatcher, Result
from service.engine.costs import BatchCosts
from service.engine.errors import InferenceError
from service.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

T = TypeVar("T")
Item_contra = TypeVar("Item_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)

MAX_FAILURES_IN_A_ROW = 8
"""So many photographs that failed alone, with none coloured between them: it is the device that is broken."""

Finish = Callable[[], Sequence[Result]]
"""Waits for a launched batch; its results, in the order of the items."""


class Launcher(Protocol[Item_contra, Result_co]):
    """What is needed of a `Device` to run batches."""

    def launch(self, backbone: str, canvases: Sequence[Item_contra], /) -> Callable[[], Sequence[Result_co]]:
        """See `Device`."""


class DeviceFailedError(Exception):
    """The device only fails; whoever runs batches on it ends, so that liveness turns red."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What is kept of an exception: itself it would hold on to all that the failed batch had in memory."""

    reason: str
    out_of_memory: bool


@dataclass(frozen=True, slots=True)
class Launched(Generic[Item, Result]):
    """A batch under way."""

    entries: Sequence[Entry[Item, Result]]
    finish: Finish[Result] | Failure
    at: float
    """In the batcher's time."""


class BatchRunner(Generic[Item, Result]):
    """Answers for every entry it is given; used by one thread, or by several where the device is."""

    def __init__(
        self, batcher: MicroBatcher[Item, Result], device: Launcher[Item, Result], costs: BatchCosts, metrics: Metrics
    ) -> None:
        self._batcher = batcher
        self._device = device
        self._costs = costs
        self._metrics = metrics
        self._failures_in_a_row = 0
        self._lock = threading.Lock()

    def run(self, entries: Sequence[Entry[Item, Result]]) -> None:
        """Runs a batch to its end.

        Raises:
            DeviceFailedError: Nothing succeeds any more.
        """
        self.retry([entries])

    def launch(self, entries: Sequence[Entry[Item, Result]]) -> Launched[Item, Result] | None:
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
        return Launched(waiting, finish, now)

    def collect(self, batch: Launched[Item, Result], free_at: float = 0.0) -> list[Sequence[Entry[Item, Result]]]:
        """Answers for a launched batch; if it failed, its halves come back, to be tried again.

        `free_at`: when the device had finished the batch before, if that was after this one's launch.
        """
        key, entries, finish = batch.entries[0].key, batch.entries, batch.finish
        outcome = (
            finish
            if isinstance(finish, Failure)
            else self._attempt(key, entries, lambda: list(zip(entries, finish(), strict=True)))
        )
        seconds = self._batcher.clock() - max(batch.at, free_at)
        self._metrics.batch_seconds.labels(key).observe(seconds)
        if isinstance(outcome, Failure):
            if len(entries) > 1:
                return self._halve(key, entries, outcome)
            self._fail(entries[0], outcome)
        else:
            self._succeed(key, outcome, seconds)
        self._batcher.answered(entries)
        return []

    def retry(self, failed: list[Sequence[Entry[Item, Result]]]) -> None:
        """Runs what failed, in ever smaller pieces, until the failure is alone with its cause."""
        pieces = deque(failed)
        while pieces:
            if (launched := self.launch(pieces.popleft())) is not None:
                pieces.extendleft(reversed(self.collect(launched)))

    def _attempt(self, key: str, entries: Sequence[Entry[Item, Result]], step: Callable[[], T]) -> T | Failure:
        try:
            return step()
        except Exception as error:
            out_of_memory = isinstance(error, MemoryError)
            self._metrics.batches.labels(key, "out_of_memory" if out_of_memory else "failed").inc()
            alone = len(entries) == 1
            logger.warning("a batch failed", extra={"backbone": key, "size": len(entries)}, exc_info=alone)
            return Failure("out of memory" if out_of_memory else type(error).__name__, out_of_memory)

    def _succeed(self, key: str, outcome: Sequence[tuple[Entry[Item, Result], Result]], seconds: float) -> None:
        self._failures_in_a_row = 0
        self._metrics.batches.labels(key, "ok").inc()
        self._metrics.batch_size.labels(key).observe(len(outcome))
        self._costs.observe(key, len(outcome), seconds)
        for entry, result in outcome:
            entry.resolve(result, seconds)

    def _halve(
        self, key: str, entries: Sequence[Entry[Item, Result]], failure: Failure
    ) -> list[Sequence[Entry[Item, Result]]]:
        middle = len(entries) // 2
        if failure.out_of_memory:
            self._batcher.limit_batch(key, middle)
            self._costs.limit(key, middle)
        return [entries[:middle], entries[middle:]]

    def _fail(self, entry: Entry[Item, Result], failure: Failure) -> None:
        entry.fail(InferenceError(f"the network failed on this photograph: {failure.reason}"))
        with self._lock:
            self._failures_in_a_row += 1
            broken = self._failures_in_a_row == MAX_FAILURES_IN_A_ROW
        if broken:
            raise DeviceFailedError(f"the device failed on {MAX_FAILURES_IN_A_ROW} photographs in a row")
