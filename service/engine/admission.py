"""Who may still come in: a bound in time, not in number."""

import math
import threading
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum, auto

from service.engine.costs import BatchCosts
from service.engine.errors import QueueFullError

_SMOOTHING = 0.1  # weight of the newest photograph


class Stage(IntEnum):
    """What a photograph has still to go through, this and all that follow."""

    DECODING = auto()
    AT_NETWORK = auto()
    WRITING = auto()


@dataclass(eq=False, slots=True)
class Place:
    """A photograph under way, as its lane says."""

    keys: Collection[str]
    arrived: float
    order: float
    """Where it comes in the order of all work: the smaller the earlier."""
    stage: Stage = Stage.DECODING
    pixels: int | None = None
    """None: its header has not been read yet."""


class Admission:
    """Predicts a newcomer's wait from what the photographs before it have still to go through, and what that costs.

    A limit on their number would either refuse work that a fast machine could do or let a slow one queue past every
    deadline. A photograph counts until its last step has ended, whoever waits for it still. Used from any thread.
    """

    def __init__(self, max_wait_s: float, costs: BatchCosts, lanes: int, on_lanes: bool) -> None:
        """`on_lanes`: the lanes compute the networks, too; else a device does, at the same time."""
        self._max_wait_s = max_wait_s
        self._costs = costs
        self._lanes = lanes
        self._on_lanes = on_lanes
        self._places: set[Place] = set()
        self._pixel_s = dict.fromkeys((Stage.DECODING, Stage.WRITING), 0.0)
        self._pixels = 0.0
        self._lock = threading.Lock()

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

    def predicted_wait_s(self, newcomer: Place | None = None) -> float:
        """Seconds that a newcomer, already inside or not, waits before its own work is done."""
        with self._lock:
            places = [place for place in self._places if place is not newcomer]
        codec_s, at_network = 0.0, Counter[str]()
        for place in places:
            pixels = self._pixels if place.pixels is None else place.pixels
            codec_s += pixels * sum(cost for stage, cost in self._pixel_s.items() if stage >= place.stage)
            if place.stage <= Stage.AT_NETWORK:
                at_network.update(place.keys)
        network_s = sum(self._costs.predict(key, count) for key, count in at_network.items())
        if self._on_lanes:
            return (codec_s + network_s) / self._lanes
        return max(codec_s / self._lanes, network_s)

    def oldest_arrival(self, key: str) -> float | None:
        """When the oldest photograph for a queue came that has not been decoded; None: there is none."""
        with self._lock:
            waiting = [place.arrived for place in self._places if place.stage is Stage.DECODING and key in place.keys]
        return min(waiting, default=None)

    @contextmanager
    def inside(self, keys: Collection[str], arrived: float = 0.0) -> Iterator[Place]:
        """For as long as a photograph for the queues `keys` is under way."""
        place = Place(keys, arrived, arrived)
        with self._lock:
            self._places.add(place)
        try:
            yield place
        finally:
            with self._lock:
                self._places.remove(place)

    def rank(self, place: Place, pixels: int) -> None:
        """Gives a photograph whose size is known its place in the order: when it would be written if it were alone.

        So a small one need not wait for a large one that came just before, and a large one is overtaken only by those
        that come while it could have been worked on (the earliest due date rule; Jackson 1955).
        """
        place.pixels = pixels
        with self._lock:
            place.order += pixels * sum(self._pixel_s.values())

    def observe(self, stage: Stage, pixels: int, seconds: float) -> None:
        """Learns from a photograph on which a lane worked for so long in a stage, whatever came of it."""
        with self._lock:
            known = self._pixel_s[stage] or seconds / pixels
            self._pixel_s[stage] = known + _SMOOTHING * (seconds / pixels - known)
            self._pixels += _SMOOTHING * (pixels - self._pixels) if self._pixels else pixels
