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

RunBatch = Callable[[str, Sequence[Item]], Sequence[Result]]
"""Runs one batch of one key, results in the order of the items; raises MemoryError where it does not fit."""


class DeviceWorker(Generic[Item, Result]):
    """Takes batches as fast as the device runs them, and answers for every entry it takes."""

    def __init__(
        self, batcher: MicroBatcher[Item, Result], run_batch: RunBatch[Item, Result], metrics: Metrics
    ) -> None:
        self._batcher = batcher
        self._run_batch = run_batch
        self._metrics = metrics
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
        key = entries[0].key
        started = time.monotonic()
        try:
            results = self._run_batch(key, [entry.item for entry in entries])
            answers = list(zip(entries, results, strict=True))
        except MemoryError as error:
            self._metrics.batches.labels(key, "out_of_memory").inc()
            safe = max(1, len(entries) // 2)
            logger.warning(
                "out of memory; batches limited", extra={"backbone": key, "size": len(entries), "safe": safe}
            )
            self._batcher.limit_batch(key, safe)
            self._halve(entries, error)
        except Exception as error:
            self._metrics.batches.labels(key, "failed").inc()
            self._halve(entries, error)
        else:
            seconds = time.monotonic() - started
            self._metrics.batches.labels(key, "ok").inc()
            self._metrics.batch_size.labels(key).observe(len(entries))
            self._batcher.batch_done(key, len(entries), seconds)
            for entry, result in answers:
                entry.resolve(result, seconds)

    def _halve(self, entries: Sequence[Entry[Item, Result]], error: Exception) -> None:
        if len(entries) > 1:
            middle = len(entries) // 2
            self._serve(entries[:middle])
            self._serve(entries[middle:])
            return
        logger.error("inference failed", extra={"backbone": entries[0].key}, exc_info=error)
        reason = "out of memory" if isinstance(error, MemoryError) else type(error).__name__
        entries[0].fail(InferenceError(f"the network failed on this photograph: {reason}"))
