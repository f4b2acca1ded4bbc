"""The second budget: decoded pixels held in memory, whatever the number of photographs."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from service.engine.errors import PixelsFullError


class PixelBudget:
    """Bounds what all photographs between decoding and their answer take; used from any thread."""

    def __init__(self, max_pixels: int) -> None:
        self._max_pixels = max_pixels
        self._held = 0
        self._lock = threading.Lock()

    @property
    def held(self) -> int:
        """Pixels taken at the moment."""
        return self._held

    @contextmanager
    def taken(self, pixels: int) -> Iterator[None]:
        """For as long as a photograph is in memory; raises what `take` does."""
        self.take(pixels)
        try:
            yield
        finally:
            self.give_back(pixels)

    def take(self, pixels: int) -> None:
        """Sets pixels aside for a photograph.

        Raises:
            PixelsFullError: Not so many are free.
        """
        with self._lock:
            if self._held + pixels > self._max_pixels:
                raise PixelsFullError(pixels, self._max_pixels - self._held)
            self._held += pixels

    def give_back(self, pixels: int) -> None:
        """The photograph is out of memory."""
        with self._lock:
            self._held -= pixels
