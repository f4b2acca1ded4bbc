"""From errors to answers: RFC 9457 problem details, one table for the whole service."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from service.api.body import EmptyBodyError, MalformedBodyError, TooLargeError, UploadTimeoutError
from service.api.security import UnauthorizedError
from service.engine.errors import (
    BackboneUnavailableError,
    BusyError,
    ClosedError,
    DeadlineError,
    InferenceError,
    MemoryFullError,
    QueueFullError,
    WorkerDeadError,
)
from service.imaging.errors import BrokenImageError, NoSuchPageError, TooManyPixelsError, UnsupportedFormatError
from service.telemetry.metrics import Metrics

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True)
class Problem:
    """What clients and metrics are told of one kind of error."""

    status: int
    type: str
    title: str
    rejection: str | None = None
    """Label in autochrome_rejections_total, where refusing protects the service."""


PROBLEMS: Mapping[type[Exception], Problem] = {
    UnauthorizedError: Problem(401, "unauthorized", "The API key is missing or wrong"),
    BackboneUnavailableError: Problem(404, "backbone-unavailable", "This backbone has no weights here"),
    UploadTimeoutError: Problem(408, "upload-timeout", "The upload took too long"),
    TooLargeError: Problem(413, "too-large", "The upload is too large", "too_large"),
    TooManyPixelsError: Problem(413, "too-many-pixels", "The image has too many pixels", "too_many_pixels"),
    UnsupportedFormatError: Problem(415, "unsupported-format", "Not an image format this service reads"),
    BrokenImageError: Problem(422, "broken-image", "The image cannot be decoded"),
    NoSuchPageError: Problem(422, "no-such-page", "The file has no such page"),
    EmptyBodyError: Problem(422, "no-image", "The request carries no image"),
    MalformedBodyError: Problem(422, "malformed-body", "The request's body cannot be parsed"),
    RequestValidationError: Problem(422, "bad-parameter", "A parameter is not valid"),
    QueueFullError: Problem(429, "queue-full", "Too many requests are waiting", "queue_full"),
    MemoryFullError: Problem(429, "memory-full", "Too much is being worked on", "memory_full"),
    InferenceError: Problem(500, "inference-failed", "The network failed on this photograph"),
    ClosedError: Problem(503, "not-serving", "The service is starting or shutting down", "draining"),
    WorkerDeadError: Problem(503, "worker-dead", "The service cannot compute any more"),
    DeadlineError: Problem(504, "deadline-exceeded", "The photograph was not coloured in time"),
}

INTERNAL = Problem(500, "internal", "Something went wrong inside the service")


def problem_response(
    problem: Problem, detail: str, request_id: str, headers: Mapping[str, str] | None = None
) -> Response:
    """The answer for one problem; `detail` is for the person who made this very request."""
    content = {
        "type": f"urn:autochrome:problem:{problem.type}",
        "title": problem.title,
        "status": problem.status,
        "detail": detail,
        "request_id": request_id,
    }
    return JSONResponse(content, problem.status, dict(headers or {}), MEDIA_TYPE)


class ProblemHandler:
    """Starlette's exception handler for everything in the table."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def __call__(self, request: Request, error: Exception) -> Response:
        """Looks the error up, counts it if it is a rejection, and answers."""
        request_id: str = request.state.request_id
        if isinstance(error, HTTPException):  # no such route, wrong method
            problem = Problem(error.status_code, "http", HTTPStatus(error.status_code).phrase)
            return problem_response(problem, str(error.detail), request_id, error.headers)
        problem = PROBLEMS[type(error)]
        # For the log alone: what a codec said of a broken image is of no use to clients.
        request.state.fields |= {"problem": problem.type, "cause": repr(error.__cause__ or error)}
        if problem.rejection is not None:
            self._metrics.rejections.labels(problem.rejection).inc()
        return problem_response(problem, _detail(error), request_id, _headers(error))


def _detail(error: Exception) -> str:
    if isinstance(error, RequestValidationError):
        return "; ".join(f"{'.'.join(map(str, part['loc']))}: {part['msg']}" for part in error.errors())
    return str(error)


def _headers(error: Exception) -> dict[str, str]:
    match error:
        case BusyError():
            return {"Retry-After": str(error.retry_after_s)}
        case ClosedError():
            return {"Retry-After": "1"}  # another replica will answer
        case UnauthorizedError():
            return {"WWW-Authenticate": "Bearer"}
        case _:
            return {}
