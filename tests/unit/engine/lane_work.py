"""Work for lanes that has a result."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from service.engine.lanes import Lanes

T = TypeVar("T")


def submit(lanes: Lanes, order: float, run: Callable[[], T]) -> "Future[T]":
    """Posts it; it can be cancelled for as long as it has not begun."""
    future: Future[T] = Future()

    def settle() -> None:
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(run())
            except Exception as error:
                future.set_exception(error)

    lanes.post(order, settle)
    return future
