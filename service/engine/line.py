"""One request's way through the lanes: the steps of a generator, each done by whichever lane is free.

A step ends where the generator yields what it waits for. The lane then turns to other work; whoever ends the wait posts
the next step. The event loop hears of a request twice, at its beginning and at its end.
"""

import threading
from collections.abc import Callable, Collection, Generator
from concurrent.futures import CancelledError, Future
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from service.engine.lanes import Lanes

T = TypeVar("T")


class Resume(Protocol):
    """Ends a wait, from any thread; to be called once."""

    def __call__(self, outcome: Any, newcomer_to: Collection[str] = (), /) -> None:
        """`outcome`: a value, or an exception to raise; `newcomer_to`: see `Lanes.post`."""


Wait = Callable[[Resume], Callable[[], bool]]
"""Begins a wait. What it answers calls the wait off, and tells whether it did: if so, nobody will be resumed."""

Steps = Generator[Wait, Any, T]


class Line(Generic[T]):
    """Runs a generator to its end, and gives `result` what it returns or raises."""

    def __init__(self, lanes: Lanes, order: Callable[[], float], steps: Steps[T]) -> None:
        """`order`: where it comes in the lanes' order, asked at each step."""
        self._lanes = lanes
        self._order = order
        self._steps = steps
        self._abandoned = False
        self._call_off: Callable[[], bool] | None = None
        self._lock = threading.Lock()
        self.result: Future[T] = Future()
        self.result.set_running_or_notify_cancel()  # it cannot be cancelled, only abandoned

    def start(self, newcomer_to: Collection[str] = ()) -> None:
        """Has the first step done before anything else that waits; `newcomer_to`: see `Lanes.post`."""
        with self._lock:
            self._call_off = self._lanes.post(self._order(), partial(self._advance, None), newcomer_to, at_once=True)

    def abandon(self) -> None:
        """Ends it where it rests next, as nobody waits for the result any more; no matter if it has ended."""
        with self._lock:
            self._abandoned = True
            call_off, self._call_off = self._call_off, None
        if call_off is not None and call_off():
            self._end()

    def _advance(self, outcome: object) -> None:
        """On a lane: does the next step."""
        with self._lock:
            self._call_off = None
        if self._abandoned:
            self._end()
            return
        try:
            wait = self._steps.throw(outcome) if isinstance(outcome, BaseException) else self._steps.send(outcome)
        except StopIteration as end:
            self.result.set_result(end.value)
        except BaseException as error:
            self.result.set_exception(error)
        else:
            self._rest(wait)

    def _rest(self, wait: Wait) -> None:
        resumed = False

        def resume(outcome: object, newcomer_to: Collection[str] = (), /) -> None:
            nonlocal resumed
            with self._lock:
                resumed = True
                self._call_off = self._lanes.post(self._order(), partial(self._advance, outcome), newcomer_to)

        try:
            call_off = wait(resume)
        except Exception as error:
            self._advance(error)  # it cannot be waited for
            return
        # It may have been resumed, or abandoned, before there was a way to call it off.
        with self._lock:
            if not resumed and not self._abandoned:
                self._call_off = call_off
                return
        if self._abandoned and call_off():
            self._end()

    def _end(self) -> None:
        self._steps.close()
        self.result.set_exception(CancelledError())
