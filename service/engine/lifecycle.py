"""From start to end: when the service may be sent requests, and when it must be restarted."""

from enum import StrEnum
from typing import Any

from service.engine.batcher import MicroBatcher
from service.engine.errors import ClosedError
from service.engine.lanes import Lanes
from service.engine.worker import Worker


class Phase(StrEnum):
    """STARTING → READY → DRAINING (still serving, but routers should turn away) → CLOSED."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    CLOSED = "closed"


class Lifecycle:
    """Readiness, liveness and the way out."""

    def __init__(self, batcher: MicroBatcher[Any, Any], worker: Worker, lanes: Lanes, stall_s: float) -> None:
        self._batcher = batcher
        self._worker = worker
        self._lanes = lanes
        self._stall_s = stall_s
        self.phase = Phase.STARTING

    def why_not_ready(self) -> str | None:
        """Why no requests should be sent here; None: send them."""
        if self.phase is not Phase.READY:
            return f"the service is {self.phase}"
        return self.why_not_live()

    def why_not_live(self) -> str | None:
        """Why a restart is needed; None: it is not. The depth of the queue is never a reason."""
        if not self._worker.alive:
            return "the device worker has died"
        if not self._lanes.alive:
            return "a worker thread has died"
        if (stalled_s := max(self._batcher.stalled_s(), self._lanes.stalled_s())) > self._stall_s:
            return f"work is pending, but none was finished for {stalled_s:.0f} s"
        return None

    def admit(self) -> None:
        """The door every request passes once; who is through will be served to the end.

        Raises:
            ClosedError: The service is starting or shutting down.
        """
        if self.phase not in (Phase.READY, Phase.DRAINING):
            raise ClosedError(f"the service is {self.phase}")
