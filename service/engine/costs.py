"""What the device's batches cost, as measured."""

import bisect
from collections.abc import Mapping

_SMOOTHING = 0.2  # weight of the newest batch
_OUTLIER = 3  # times the mean: a machine that stood still for a moment says nothing about batches


class BatchCosts:
    """Running means of the seconds that a batch takes, by backbone and size.

    By size, because a batch of one costs far more a photograph than a full one: with one mean for all, a service that
    was idle would take the first burst for more work than it is. Batches between two sizes count as the larger one.
    Read and written from different threads; each value is replaced as a whole.
    """

    def __init__(self, seconds: Mapping[str, Mapping[int, float]]) -> None:
        """`seconds` by backbone and batch size, as warm-up measured them; the largest size is the largest batch."""
        self._seconds = {key: dict(by_size) for key, by_size in seconds.items()}
        self._sizes = {key: sorted(by_size) for key, by_size in seconds.items()}

    def observe(self, key: str, size: int, seconds: float) -> None:
        """Learns from a batch of `size` that took `seconds`."""
        bucket = self._bucket(key, size)
        known = self._seconds[key][bucket]
        self._seconds[key][bucket] += _SMOOTHING * (min(seconds, _OUTLIER * known) - known)

    def predict(self, key: str, count: int) -> float:
        """Seconds that `count` photographs take, in batches as large as can be."""
        largest = self._sizes[key][-1]
        full, rest = divmod(count, largest)
        return full * self._seconds[key][largest] + (self._seconds[key][self._bucket(key, rest)] if rest else 0.0)

    def largest(self, key: str) -> int:
        """The size of the largest batches."""
        return self._sizes[key][-1]

    def cheapest(self, key: str) -> int:
        """The size of batches that takes the fewest seconds a photograph."""
        return min(self._sizes[key], key=lambda size: self._seconds[key][size] / size)

    def measured(self, key: str) -> dict[int, float]:
        """Seconds that a batch takes, by size."""
        return {size: self._seconds[key][size] for size in self._sizes[key]}

    def limit(self, key: str, size: int) -> None:
        """Batches are no larger than `size` from now on."""
        self._sizes[key] = [known for known in self._sizes[key] if known <= size] or self._sizes[key][:1]

    def _bucket(self, key: str, size: int) -> int:
        sizes = self._sizes[key]
        return sizes[min(bisect.bisect_left(sizes, size), len(sizes) - 1)]
