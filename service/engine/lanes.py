"""The cores as lanes: one worker thread for each, and one order for all work.

The request that comes first in the order does so whatever its next step is. So what is nearly done is finished before
newcomers begin, and a photograph mostly stays on one core: the lane that has done one step of the first request finds
its next step at the head.
"""

import heapq
import itertools
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial


@dataclass(order=True, slots=True)
class _Work:
    later: bool
    order: float
    number: int
    run: Callable[[], None] = field(compare=False)
    newcomer_to: Collection[str] = field(compare=False)
    taken: bool = field(default=False, compare=False)


class Lanes:
    """Worker threads that take work from one order; used from any thread."""

    def __init__(
        self, count: int, begin: Callable[[], object] = lambda: None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`begin` is called on each thread before its first work."""
        self.count = count
        self._begin = begin
        self._clock = clock
        self._waiting: list[_Work] = []  # a heap
        self._newcomers: defaultdict[str, deque[_Work]] = defaultdict(deque)
        self._numbers = itertools.count()
        self._working = 0
        self._reserved = 0
        self._last_progress = clock()
        self._closed = False
        self._changed = threading.Condition()
        self._threads = [threading.Thread(target=self._live, name=f"lane-{i}", daemon=True) for i in range(count)]

    def start(self) -> None:
        """Begins to work."""
        for thread in self._threads:
            thread.start()

    def post(
        self, order: float, run: Callable[[], None], newcomer_to: Collection[str] = (), at_once: bool = False
    ) -> Callable[[], bool]:
        """Has work done, the smallest `order` first; work that raises ends its lane.

        `newcomer_to`: the queues where its request will wait for a network; see `take_newcomer`. `at_once`: before all
        that is not. What is returned withdraws the work, and tells whether it did: else it has begun.
        """
        with self._changed:
            work = _Work(not at_once, order, next(self._numbers), run, newcomer_to)
            if not self._waiting and not self._working:
                self._last_progress = self._clock()  # from here on there is something to do
            heapq.heappush(self._waiting, work)
            for key in newcomer_to:
                self._newcomers[key].append(work)
            self._changed.notify()
        return partial(self._withdraw, work)

    def take_newcomer(self, key: str) -> Callable[[], None] | None:
        """Takes the first newcomer to a queue out of the order, for the caller to run; None: there is none."""
        with self._changed:
            work = min((work for work in self._newcomers[key] if not work.taken), default=None)
            return None if work is None else self._take(work)

    def newcomers(self, key: str) -> int:
        """How many newcomers to a queue wait."""
        with self._changed:
            return sum(not work.taken for work in self._newcomers[key])

    @property
    def spare(self) -> int:
        """How many lanes have nothing to do."""
        with self._changed:
            return 0 if self._head() else self.count - self._working - self._reserved

    @contextmanager
    def reserve(self, cores: int) -> Iterator[bool]:
        """Keeps lanes from work, for the caller, on a lane, to use so many cores in all; False: others need them.

        Code that is spread over several cores waits for the slowest of them again and again: with other work on one, it
        takes longer than on a single core.
        """
        with self._changed:
            alone = self._head() is None and self._working == 1 and not self._reserved
            if alone:
                self._reserved = cores - 1
        try:
            yield alone
        finally:
            if alone:
                with self._changed:
                    self._reserved = 0
                    self._changed.notify_all()

    @property
    def alive(self) -> bool:
        """Whether all lanes work."""
        return all(thread.is_alive() for thread in self._threads)

    def stalled_s(self) -> float:
        """How long there has been work without any being finished; 0 where there is none."""
        with self._changed:
            return self._clock() - self._last_progress if self._working or self._head() else 0.0

    def close(self, timeout_s: float) -> None:
        """Ends the lanes when all that was posted is done, and waits for that, or for so long."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        end = self._clock() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, end - self._clock()))

    def _withdraw(self, work: _Work) -> bool:
        with self._changed:
            if work.taken:
                return False
            self._take(work)
            return True

    def _live(self) -> None:
        self._begin()
        while (run := self._next()) is not None:
            run()
            # What it held shall not live on until there is something else to do.
            del run
            with self._changed:
                self._working -= 1
                self._last_progress = self._clock()

    def _next(self) -> Callable[[], None] | None:
        with self._changed:
            while (work := self._head()) is None or self._working + self._reserved >= self.count:
                if work is None and self._closed:
                    return None
                self._changed.wait()
            self._working += 1
            return self._take(work)

    def _head(self) -> _Work | None:
        while self._waiting and self._waiting[0].taken:
            heapq.heappop(self._waiting)
        return self._waiting[0] if self._waiting else None

    def _take(self, work: _Work) -> Callable[[], None]:
        work.taken = True
        for key in work.newcomer_to:
            line = self._newcomers[key]
            while line and line[0].taken:
                line.popleft()
        run, work.run = work.run, _nothing  # what was taken out of the order may stay in the heap for a while
        return run


def _nothing() -> None: ...
