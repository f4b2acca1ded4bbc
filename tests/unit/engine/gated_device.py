"""A device made of events: tests decide when a batch starts and when it is done."""

import threading
from collections.abc import Callable, Sequence
from functools import partial

TIMEOUT_S = 20  # of every wait for an event: a bug must fail, not hang


class GatedDevice:
    """Finishes a batch only when told to, and remembers what it was given and asked for."""

    def __init__(self, lead_s: float | None = None, cores: int = 1) -> None:
        self.lead_s = lead_s
        self.cores = {"left": cores, "right": cores}
        self.batches: list[tuple[str, list[str]]] = []
        self.collected: list[list[str]] = []
        self._started = threading.Semaphore(0)
        self._collecting = threading.Semaphore(0)
        self._gate = threading.Semaphore(0)
        self._open = False

    def launch(self, key: str, items: Sequence[str]) -> Callable[[], list[str]]:
        """`unfit…` fails at once; the others as soon as the batch is collected, see `_finish`."""
        self.batches.append((key, list(items)))
        self._started.release()
        if any(item.startswith("unfit") for item in items):
            raise ValueError("an item that no batch can be started with")
        return partial(self._finish, list(items))

    def _finish(self, items: list[str]) -> list[str]:
        """Answers every item in upper case; `bad…` fails, `big…` does not fit beside another."""
        self.collected.append(items)
        self._collecting.release()
        if not self._open:
            assert self._gate.acquire(timeout=TIMEOUT_S)
        if any(item.startswith("bad") for item in items):
            raise ValueError("a poisoned item")
        if any(item.startswith("big") for item in items) and len(items) > 1:
            raise MemoryError
        if "deadly" in items:
            raise SystemExit
        return [item.upper() for item in items]

    def wait_for_start(self) -> None:
        """Until one more batch has started."""
        assert self._started.acquire(timeout=TIMEOUT_S)

    def wait_for_collect(self) -> None:
        """Until the worker waits for one more batch to finish."""
        assert self._collecting.acquire(timeout=TIMEOUT_S)

    def finish(self) -> None:
        """Lets one batch finish."""
        self._gate.release()

    def open(self) -> None:
        """Lets this and all further batches finish at once."""
        self._open = True
        self._gate.release()


class Clock:
    """Time as the test says."""

    def __init__(self) -> None:
        self.now = 0.0
        self.flies = False
        """Whether all that the worker waits for is over when it asks."""
        self._asked = threading.Semaphore(0)

    def __call__(self) -> float:
        if threading.current_thread().name == "device-worker":
            self._asked.release()
            self.now += 1e6 * self.flies
        return self.now

    def wait_for_the_worker(self) -> None:
        """Until the worker has asked for the time once more: so it has looked at the queue, and decides by this."""
        assert self._asked.acquire(timeout=TIMEOUT_S)

    def forget(self) -> None:
        """As if the worker had never asked."""
        while self._asked.acquire(blocking=False):
            pass
