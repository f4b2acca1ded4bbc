"""The micro-batching queue: many requests in, one device out.

Requests come from the event loop (`submit`), batches are taken by the device worker's thread (`next_batch`) at the
moment the device is free, or just before, so a batch keeps growing for as long as it has to wait anyway. One lock
guards it all. Who may come at all is decided before (see admission.py).
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from service.engine.errors import ClosedError, EngineError

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Answer(Generic[Result]):
    """One of the results of `submit` and where its time went, in seconds."""

    result: Result
    queue_s: float
    inference_s: float


@dataclass(eq=False, slots=True)
class Entry(Generic[Item, Result]):
    """One item in one queue, with the slot its answer goes to; answered exactly once, by whoever comes first."""

    key: str
    item: Item
    answer: "asyncio.Future[Answer[Result]]"
    arrived: float
    _withdrawn: threading.Event
    """Shared by all entries of a request: one that fails takes the others with it before the device is free again."""
    started: float = 0.0

    @property
    def abandoned(self) -> bool:
        """Nobody waits for the answer any more."""
        return self._withdrawn.is_set()

    def withdraw(self) -> None:
        """Ends the wait for it, and for all entries of its request; from the event loop only."""
        self._withdrawn.set()
        self.answer.cancel()

    def resolve(self, result: Result, inference_s: float) -> None:
        """Gives the result, from any thread."""
        self._deliver(Answer(result, self.started - self.arrived, inference_s))

    def fail(self, error: Exception) -> None:
        """Gives an error instead, from any thread; nobody needs the request's other answers then."""
        self._withdrawn.set()
        self._deliver(error)

    def _deliver(self, outcome: Answer[Result] | Exception) -> None:
        try:
            self.answer.get_loop().call_soon_threadsafe(self._settle, outcome)
        except RuntimeError:  # the loop is closed: nobody is left to be told
            return

    def _settle(self, outcome: Answer[Result] | Exception) -> None:
        # Guarded: the client may have left, or a first answer been given, since the batch was closed.
        if self.answer.done():
            return
        if isinstance(outcome, Exception):
            self.answer.set_exception(outcome)
        else:
            self.answer.set_result(outcome)


class MicroBatcher(Generic[Item, Result]):
    """One queue per key, oldest head first."""

    def __init__(
        self,
        keys: Iterable[str],
        max_batch_size: int,
        max_wait_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queues: dict[str, deque[Entry[Item, Result]]] = {key: deque() for key in keys}
        self._batch_limit = dict.fromkeys(self._queues, max_batch_size)
        self._max_wait_s = max_wait_s
        self._running: set[Entry[Item, Result]] = set()
        self.clock = clock
        """Seconds, from whenever; all of the engine's times are its."""
        self._last_progress = clock()
        self._closed: EngineError | None = None
        self._changed = threading.Condition()

    def admit(self) -> None:
        """Raises what `submit` would raise for a newcomer, without queueing anything."""
        with self._changed:
            self._check_open()

    async def submit(self, keys: Collection[str], item: Item) -> list[Answer[Result]]:
        """Queues an item under every key, or under none, and waits for all results, which come in the keys' order.

        The first failure ends the wait, as does cancelling it; what is still queued then is withdrawn.

        Raises:
            KeyError: No such queue.
            ClosedError: The batcher is closed.
            WorkerDeadError: The device worker has died.
            InferenceError: The network failed on this item.
        """
        loop, arrived, withdrawn = asyncio.get_running_loop(), self.clock(), threading.Event()
        entries: list[Entry[Item, Result]] = [
            Entry(key, item, loop.create_future(), arrived, withdrawn) for key in keys
        ]
        with self._changed:
            queues = [self._queues[key] for key in keys]
            self._check_open()
            for queue, entry in zip(queues, entries, strict=True):
                queue.append(entry)
            self._changed.notify()
        try:
            return await asyncio.gather(*(entry.answer for entry in entries))
        finally:
            with self._changed:
                for queue, entry in zip(queues, entries, strict=True):
                    entry.withdraw()
                    if entry in queue:
                        queue.remove(entry)
                        self._changed.notify()

    def next_batch(self, busy_until: float | None = None) -> list[Entry[Item, Result]] | None:
        """Blocks until work is due and takes it: entries of one key, oldest first; None once closed and empty.

        `busy_until`: the device is not free, and nothing more is launched before this time, for which entries gather;
        if nothing is due then, the answer is an empty list.
        """
        with self._changed:
            while busy_until is not None and (remaining := busy_until - self.clock()) > 0:
                self._changed.wait(remaining)
            while True:
                head = self._oldest_head()
                if head is None:
                    if busy_until is not None:
                        return []
                    if self._closed is not None:
                        return None
                    self._changed.wait()
                    continue
                queue, limit = self._queues[head.key], self._batch_limit[head.key]
                remaining = head.arrived + self._max_wait_s - self.clock()
                if remaining > 0 and len(queue) < limit and self._closed is None:
                    if busy_until is not None:
                        return []
                    self._changed.wait(remaining)
                    continue
                batch = [queue.popleft() for _ in range(min(limit, len(queue)))]
                self._running.update(batch)
                return batch

    def answered(self, entries: Iterable[Entry[Item, Result]]) -> None:
        """These entries, taken before, are answered for, whatever came of them."""
        with self._changed:
            self._running.difference_update(entries)
            self._last_progress = self.clock()

    def limit_batch(self, key: str, size: int) -> None:
        """Never again more than `size` of `key` at once: more did not fit into memory."""
        with self._changed:
            self._batch_limit[key] = min(size, self._batch_limit[key])

    def close(self) -> None:
        """Admits nothing more; what is queued is still served."""
        with self._changed:
            self._closed = self._closed or ClosedError("the service is shutting down")
            self._changed.notify()

    def abort(self, error: EngineError) -> None:
        """Fails everything queued and running, and everything that still comes."""
        with self._changed:
            self._closed = error
            entries = [*self._running, *(entry for queue in self._queues.values() for entry in queue)]
            self._running.clear()
            for queue in self._queues.values():
                queue.clear()
            self._changed.notify()
        for entry in entries:
            entry.fail(_again(error))

    def depth(self, key: str) -> int:
        """Entries waiting."""
        with self._changed:
            return len(self._queues[key])

    def oldest_wait_s(self, key: str) -> float:
        """How long the head of the queue has waited; 0 where there is none."""
        with self._changed:
            queue = self._queues[key]
            return self.clock() - queue[0].arrived if queue else 0.0

    def stalled_s(self) -> float:
        """How long work has been pending without a batch being finished; 0 where none is pending."""
        with self._changed:
            pending = [*self._running, *(queue[0] for queue in self._queues.values() if queue)]
            if not pending:
                return 0.0
            pending_since = min(entry.arrived for entry in pending)
            return self.clock() - max(self._last_progress, pending_since)

    def _check_open(self) -> None:
        if self._closed is not None:
            raise _again(self._closed)

    def _oldest_head(self) -> Entry[Item, Result] | None:
        heads = (queue[0] for queue in self._queues.values() if queue)
        return min(heads, key=lambda entry: entry.arrived, default=None)


def _again(error: EngineError) -> EngineError:
    """The same error as an object of its own: a shared one would gather every waiter's traceback."""
    return type(error)(*error.args)
