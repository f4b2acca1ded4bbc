"""Who may still come in: a bound in time, not in number."""

import math
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from enum import Enum, auto

from service.engine.costs import BatchCosts
from service.engine.errors import QueueFullError

_SMOOTHING = 0.1  # weight of the newest photograph


class Stage(Enum):
    """Where a photograph is; in the order of its way."""

    DECODING = auto()
    AT_DEVICE = auto()
    ENCODING = auto()


class Admission:
    """Predicts a newcomer's wait from where the photographs before it are and what each stage costs.

    A limit on their number would either refuse work that a fast machine could do or let a slow one queue past every
    deadline. A photograph ahead delays the newcomer in the stages that it has still to pass; and as the stages work
    at the same time, the wait is that for the slowest of them. Used from the event loop only.
    """

    def __init__(self, max_wait_s: float, costs: BatchCosts, codec_threads: int) -> None:
        self._max_wait_s = max_wait_s
        self._costs = costs
        self._codec_threads = codec_threads
        self._inside = dict.fromkeys(Stage, 0)
        self._keys: dict[Stage, Counter[str]] = {stage: Counter() for stage in Stage}
        self._codec_s: dict[Stage, float] = {}

    def admit(self) -> None:
        """Lets a newcomer in.

        Raises:
            QueueFullError: Its predicted wait is too long; come back when enough of the work is done.
        """
        wait = self.predicted_wait_s()
        if wait > self._max_wait_s:
            raise QueueFullError(wait, self.retry_after_s())

    def retry_after_s(self) -> int:
        """Whole seconds after which a newcomer would be let in."""
        return max(1, math.ceil(self.predicted_wait_s() - self._max_wait_s))

    def predicted_wait_s(self) -> float:
        """Seconds that a newcomer would wait before its own work is done."""
        decoding, at_device, encoding = (self._inside[stage] for stage in Stage)
        for_device = self._keys[Stage.DECODING] + self._keys[Stage.AT_DEVICE]
        return max(
            self._codec_wait_s(Stage.DECODING, decoding),
            sum(self._costs.predict(key, count) for key, count in for_device.items()),
            self._codec_wait_s(Stage.ENCODING, decoding + at_device + encoding),
        )

    def _codec_wait_s(self, stage: Stage, before: int) -> float:
        return before * self._codec_s.get(stage, 0.0) / self._codec_threads

    @contextmanager
    def inside(self, stage: Stage, keys: Collection[str]) -> Iterator[None]:
        """For as long as a photograph for the queues `keys` is in a stage."""
        self._inside[stage] += 1
        self._keys[stage].update(keys)
        try:
            yield
        finally:
            self._inside[stage] -= 1
            self._keys[stage].subtract(keys)

    def observe(self, stage: Stage, seconds: float) -> None:
        """Learns from a photograph on which a codec thread worked for so long."""
        known = self._codec_s.get(stage, seconds)
        self._codec_s[stage] = known + _SMOOTHING * (seconds - known)
