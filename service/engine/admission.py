"""Who may still join the queue: a bound in time, not in number."""

import math
from collections.abc import Mapping

from service.engine.errors import QueueFullError

_SMOOTHING = 0.2  # weight of the newest batch in the running cost


class Admission:
    """Predicts the wait of a newcomer from the work queued and the measured cost of a photograph.

    A limit on the number of entries would either refuse work a fast device could do or let a slow one queue
    past every deadline. Not thread-safe: the batcher calls it under its own lock.
    """

    def __init__(self, max_queue_wait_s: float) -> None:
        self._max_queue_wait_s = max_queue_wait_s
        self._cost_s: dict[str, float] = {}

    def observe(self, key: str, size: int, seconds: float) -> None:
        """Learns from a batch of `size` that took `seconds`."""
        cost = seconds / size
        self._cost_s[key] = (1 - _SMOOTHING) * self._cost_s.get(key, cost) + _SMOOTHING * cost

    def predicted_wait_s(self, pending: Mapping[str, int]) -> float:
        """Seconds until a newcomer's batch starts, with `pending` entries by key before it."""
        return sum(count * self._cost_s.get(key, 0.0) for key, count in pending.items())

    def admit(self, pending: Mapping[str, int]) -> None:
        """Lets a newcomer in.

        Raises:
            QueueFullError: Its predicted wait is over the budget; come back when enough of the queue is done.
        """
        wait = self.predicted_wait_s(pending)
        if wait > self._max_queue_wait_s:
            raise QueueFullError(wait, max(1, math.ceil(wait - self._max_queue_wait_s)))
