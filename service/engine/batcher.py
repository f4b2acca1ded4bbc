"""The micro-batching queue: many requests in, one network out.

Requests come in from the lanes (`submit`). On a GPU batches are taken by the device worker's thread (`next_batch`) at
the moment the device is free, or just before, so a batch keeps growing for as long as it has to wait anyway; on a CPU
by the lanes themselves (`take`). One lock guards it all. Who may come at all is decided before (see admission.py).
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from service.engine.errors import ClosedError, EngineError

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Answer(Generic[Result]):
    """One of the results that a ticket ends with, and where its time went, in seconds."""

    result: Result
    queue_s: float
    inference_s: float


Settle = Callable[[list[Answer[Result]] | Exception], None]


class Ticket(Generic[Item, Result]):
    """An item's places in the queues; settled once, with all answers, in their order, or with the first error."""

    def __init__(
        self,
        keys: Collection[str],
        item: Item,
        order: float,
        queued: float,
        settle: Settle[Result],
    ) -> None:
        self.entries = [Entry(self, key, item, order, queued) for key in keys]
        self._settle = settle
        self._lock = threading.Lock()
        self.settled = False

    def end(self, outcome: Exception | None = None) -> bool:
        """Settles it with an error, or with nobody told; False: it was settled before."""
        with self._lock:
            if self.settled:
                return False
            settle = self._let_go()
        if outcome is not None:
            settle(outcome)
        return True

    def answered(self) -> None:
        """Settles it if that was the last answer."""
        with self._lock:
            answers = [entry.answer for entry in self.entries if entry.answer is not None]
            if self.settled or len(answers) < len(self.entries):
                return
            settle = self._let_go()
        settle(answers)

    def _let_go(self) -> Settle[Result]:
        # It and its entries know each other, and who waits knows the photograph: the garbage collector may take long.
        settle, self._settle = self._settle, _nothing
        self.settled = True
        self.entries = []
        return settle


@dataclass(eq=False, slots=True)
class Entry(Generic[Item, Result]):
    """One item in one queue."""

    ticket: Ticket[Item, Result]
    key: str
    item: Item
    order: float
    """Where its request comes in the order: the smaller the earlier."""
    queued: float
    started: float = 0.0
    answer: Answer[Result] | None = None

    @property
    def abandoned(self) -> bool:
        """Nobody waits for the answer any more."""
        return self.ticket.settled

    def resolve(self, result: Result, inference_s: float) -> None:
        """Gives the result, from any thread."""
        self.answer = Answer(result, self.started - self.queued, inference_s)
        self.ticket.answered()

    def fail(self, error: Exception) -> None:
        """Gives an error instead, from any thread; nobody needs the request's other answers then."""
        self.ticket.end(error)


class MicroBatcher(Generic[Item, Result]):
    """One queue per key; the first head in the order goes first."""

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
        self.on_queued: Callable[[Entry[Item, Result]], None] = lambda _: None
        """Told of every entry once it is in its queue."""
        self._last_progress = clock()
        self._closed: EngineError | None = None
        self._changed = threading.Condition()

    def admit(self) -> None:
        """Raises what `submit` would raise for a newcomer, without queueing anything."""
        with self._changed:
            self._check_open()

    def submit(
        self,
        keys: Collection[str],
        item: Item,
        settle: Settle[Result],
        order: float | None = None,
    ) -> Callable[[], bool]:
        """Queues an item under every key, or under none.

        `settle` is called once, from any thread, with what came of it: all answers, in the keys' order, or the first
        error.

        `order`: the smaller the earlier it has its turn; None: as the time is now. What is returned withdraws it, and
        tells whether it did: if so, `settle` is not called. Errors are InferenceError, the network failed on this item,
        or WorkerDeadError.

        Raises:
            KeyError: No such queue.
            ClosedError, WorkerDeadError: The batcher is closed, or the device has died.
        """
        now = self.clock()
        ticket = Ticket(keys, item, now if order is None else order, now, settle)
        entries = ticket.entries
        with self._changed:
            queues = [self._queues[key] for key in keys]
            self._check_open()
            for queue, entry in zip(queues, entries, strict=True):
                _insert(queue, entry)
            self._changed.notify()
        ticket.answered()  # where no network is needed
        for entry in entries:
            self.on_queued(entry)
        return partial(self._withdraw, ticket)

    def take(self, key: str, size: int) -> list[Entry[Item, Result]]:
        """Takes up to `size` entries of one key, oldest first, as many as there are."""
        with self._changed:
            return self._take(key, size)

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
                remaining = head.queued + self._max_wait_s - self.clock()
                if remaining > 0 and len(queue) < limit and self._closed is None:
                    if busy_until is not None:
                        return []
                    self._changed.wait(remaining)
                    continue
                return self._take(head.key, limit)

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
            return sum(not entry.abandoned for entry in self._queues[key])

    def oldest_wait_s(self, key: str) -> float:
        """How long the head of the queue has waited; 0 where there is none."""
        with self._changed:
            head = self._head(self._queues[key])
            return 0.0 if head is None else self.clock() - head.queued

    def stalled_s(self) -> float:
        """How long work has been pending without a batch being finished; 0 where none is pending."""
        with self._changed:
            heads = (self._head(queue) for queue in self._queues.values())
            pending = [*self._running, *(head for head in heads if head is not None)]
            if not pending:
                return 0.0
            return self.clock() - max(self._last_progress, min(entry.queued for entry in pending))

    def _check_open(self) -> None:
        if self._closed is not None:
            raise _again(self._closed)

    def _oldest_head(self) -> Entry[Item, Result] | None:
        heads = (self._head(queue) for queue in self._queues.values())
        return min((head for head in heads if head is not None), key=lambda entry: entry.order, default=None)

    def _head(self, queue: deque[Entry[Item, Result]]) -> Entry[Item, Result] | None:
        while queue and queue[0].abandoned:
            queue.popleft()
        return queue[0] if queue else None

    def _take(self, key: str, size: int) -> list[Entry[Item, Result]]:
        queue, batch = self._queues[key], list[Entry[Item, Result]]()
        while len(batch) < min(size, self._batch_limit[key]) and self._head(queue) is not None:
            batch.append(queue.popleft())
        self._running.update(batch)
        return batch

    def _withdraw(self, ticket: Ticket[Item, Result]) -> bool:
        entries = ticket.entries
        if not ticket.end():
            return False
        with self._changed:
            for entry in entries:
                with suppress(ValueError):  # it was taken
                    self._queues[entry.key].remove(entry)
            self._changed.notify()
        return True


def _nothing(_: object) -> None: ...


def _insert(queue: deque[Entry[Item, Result]], entry: Entry[Item, Result]) -> None:
    place = len(queue)
    while place and queue[place - 1].order > entry.order:
        place -= 1
    queue.insert(place, entry)


def _again(error: EngineError) -> EngineError:
    """The same error as an object of its own: a shared one would gather every waiter's traceback."""
    return type(error)(*error.args)
