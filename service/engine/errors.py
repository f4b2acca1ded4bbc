"""Why a photograph was not coloured.

EngineError
├── BackboneUnavailableError   the backbone has no weights here
├── QueueFullError             the wait would be too long; carries when to come back
├── ClosedError                the service is shutting down
├── WorkerDeadError            the device's thread has ended; only a restart helps
├── DeadlineError              the request's time is over
└── InferenceError             the network failed on this very photograph
"""


class EngineError(Exception):
    """The root; messages are shown to clients."""


class BackboneUnavailableError(EngineError):
    """The backbone is not loaded; the message says how to get it."""


class QueueFullError(EngineError):
    """The predicted wait exceeds the budget."""

    def __init__(self, predicted_wait_s: float, retry_after_s: int) -> None:
        super().__init__(f"the predicted wait is {predicted_wait_s:.1f} s; try again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class ClosedError(EngineError):
    """Nothing is admitted any more."""


class WorkerDeadError(EngineError):
    """The device worker has died."""


class DeadlineError(EngineError):
    """The deadline passed before the answer was made."""


class InferenceError(EngineError):
    """The network failed on this photograph."""
