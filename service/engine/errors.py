"""Why a photograph was not coloured.

EngineError
├── BackboneUnavailableError   the backbone has no weights here
├── BusyError                  not now; carries when to come back
│   ├── QueueFullError         the wait would be too long
│   └── MemoryFullError        what is under way fills the memory set aside for it
├── ClosedError                the service is shutting down
├── WorkerDeadError            the device's thread has ended; only a restart helps
├── DeadlineError              the request's time is over
└── InferenceError             the network failed on this very photograph
"""


class EngineError(Exception):
    """The root; messages are shown to clients."""


class BackboneUnavailableError(EngineError):
    """The backbone is not loaded; the message says how to get it."""


class BusyError(EngineError):
    """There is too much to do."""

    retry_after_s = 1
    """After so many whole seconds it may have been done."""


class QueueFullError(BusyError):
    """The predicted wait exceeds the budget."""

    def __init__(self, predicted_wait_s: float, retry_after_s: int) -> None:
        super().__init__(f"the predicted wait is {predicted_wait_s:.1f} s; try again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class MemoryFullError(BusyError):
    """What is under way leaves no room for this."""

    def __init__(self, wanted: int, free: int, retry_after_s: int = 1) -> None:
        super().__init__(f"this needs {wanted} bytes of memory, and there is room for {free} at the moment")
        self.wanted = wanted
        self.free = free
        self.retry_after_s = retry_after_s


class ClosedError(EngineError):
    """Nothing is admitted any more."""


class WorkerDeadError(EngineError):
    """The device worker has died."""


class DeadlineError(EngineError):
    """The deadline passed before the answer was made."""


class InferenceError(EngineError):
    """The network failed on this photograph."""
