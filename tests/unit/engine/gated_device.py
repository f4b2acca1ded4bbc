"""A device made of events: tests decide when a batch starts and when it is done."""

import threading
from collections.abc import Sequence

TIMEOUT_S = 20  # of every wait for an event: a bug must fail, not hang


class GatedDevice:
    """Runs a batch only when told to, and remembers what it ran."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, list[str]]] = []
        self._started = threading.Semaphore(0)
        self._gate = threading.Semaphore(0)
        self._open = False

    def run_batch(self, key: str, items: Sequence[str]) -> list[str]:
        """Answers every item in upper case; `bad…` fails, `big…` does not fit beside another."""
        self.batches.append((key, list(items)))
        self._started.release()
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

    def finish(self) -> None:
        """Lets one batch finish."""
        self._gate.release()

    def open(self) -> None:
        """Lets this and all further batches finish at once."""
        self._open = True
        self._gate.release()
