"""The one thread that owns the device."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic

from service.engine.batcher import Entry, Item, MicroBatcher, Result
from service.engine.errors import InferenceError, WorkerDeadError
from service.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

MAX_FAILURES_IN_A_ROW = 8
"""So many photographs that failed alone, with none coloured between them: it is the device that is broken."""

RunBatch = Callable[[str, Sequence[Item]], Sequence[Result]]
"""Runs one batch of one key, results in the order of the items; raises MemoryError where it does not fit."""


class DeviceFailedError(Exception):
    """The device only fails; ends the worker, so that liveness turns red."""


class DeviceWorker(Generic[Item, Result]):
    """Takes batches as fast as the device runs them, and answers for every entry it takes."""

    def __init__(
        self, batcher: MicroBatcher[Item, Result], run_batch: RunBatch[Item, Result], metrics: Metrics
    ) -> None:
        self._batcher = batcher
        self._run_batch = run_batch
        self._metrics = metrics
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
            while (entries := self._batcher.next_batch()) is not None:
                self._serve(entries)
                self._batcher.device_free()
        except BaseException:
            # Nothing may hang on a dead worker: those who wait are told, and liveness turns red.
            logger.critical("the device worker has died", exc_info=True)
            self._batcher.abort(WorkerDeadError("the device worker has died; the service must be restarted"))

    def _serve(self, entries: Sequence[Entry[Item, Result]]) -> None:
        """Runs a batch; one that fails is halved until the failure is alone with its cause."""
        entries = [entry for entry in entries if not entry.abandoned]
        if not entries:
            return
        if not self._run(entries):
            # Only now, outside of the handler: an exception holds on to all that the failed batch had in memory.
            middle = len(entries) // 2
            self._serve(entries[:middle])
            self._serve(entries[middle:])

    def _run(self, entries: Sequence[Entry[Item, Result]]) -> bool:
        """Runs a batch as a whole; False if it failed and its entries are still to be answered for."""
        key = entries[0].key
        started = time.monotonic()
        try:
            results = self._run_batch(key, [entry.item for entry in entries])
            answers = list(zip(entries, results, strict=True))
        except Exception as error:
            out_of_memory = isinstance(error, MemoryError)
            self._metrics.batches.labels(key, "out_of_memory" if out_of_memory else "failed").inc()
            if out_of_memory and len(entries) > 1:
                logger.warning("out of memory", extra={"backbone": key, "size": len(entries)})
                self._batcher.limit_batch(key, len(entries) // 2)
            if len(entries) > 1:
                return False
            logger.exception("inference failed", extra={"backbone": key})
            reason = "out of memory" if out_of_memory else type(error).__name__
            entries[0].fail(InferenceError(f"the network failed on this photograph: {reason}"))
            self._failures_in_a_row += 1
            if self._failures_in_a_row == MAX_FAILURES_IN_A_ROW:
                raise DeviceFailedError(f"the device failed on {MAX_FAILURES_IN_A_ROW} photographs in a row") from error
            return True
        seconds = time.monotonic() - started
        self._failures_in_a_row = 0
        self._metrics.batches.labels(key, "ok").inc()
        self._metrics.batch_size.labels(key).observe(len(entries))
        self._batcher.batch_done(key, len(entries), seconds)
        for entry, result in answers:
            entry.resolve(result, seconds)
        return True
