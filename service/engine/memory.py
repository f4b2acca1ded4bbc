"""The second budget: bytes that requests hold, from the first of the upload to the last of the answer."""

import threading

from service.engine.errors import MemoryFullError


class MemoryBudget:
    """Bounds what all requests hold together; used from any thread."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        """What there is."""
        self._held = 0
        self._lock = threading.Lock()

    @property
    def held(self) -> int:
        """Bytes that are leased at the moment."""
        return self._held

    def lease(self) -> "Lease":
        """A lease of nothing yet."""
        return Lease(self)

    def _exchange(self, old: int, new: int) -> None:
        with self._lock:
            if new > old and self._held - old + new > self.max_bytes:
                raise MemoryFullError(new - old, self.max_bytes - self._held)
            self._held += new - old


class Lease:
    """What one request holds; given back when the last of those who have entered it leaves."""

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self._bytes = 0
        self._holders = 0
        self._lock = threading.Lock()

    def hold(self, count: int) -> None:
        """Holds so many bytes from now on, in place of what it held.

        Raises:
            MemoryFullError: Not so many are free; it holds what it did.
        """
        with self._lock:
            self._budget._exchange(self._bytes, count)
            self._bytes = count

    def __enter__(self) -> "Lease":
        """One more holds it."""
        with self._lock:
            self._holders += 1
        return self

    def __exit__(self, *_: object) -> None:
        """One less; the last gives it back."""
        with self._lock:
            self._holders -= 1
            if self._holders == 0:
                self._budget._exchange(self._bytes, 0)
                self._bytes = 0
