"""Around every request: its ID, its line in the log, its count in the metrics."""

import logging
import re
import time
import uuid
from http import HTTPStatus
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.problems import INTERNAL, problem_response
from service.engine.lifecycle import Lifecycle, Phase
from service.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

COLORIZE_PATH = "/colorize"
CLIENT_LEFT = 499
"""nginx's status for a client that closed the connection before its answer; never sent, only counted and logged."""

_PROBED_PATHS = {"/livez", "/readyz", "/metrics"}
"""Asked every few seconds by orchestrators and Prometheus: as long as all is well, that is no news for the log."""

_SAFE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class RequestContext:
    """Pure ASGI: Starlette's BaseHTTPMiddleware would hide a client's leaving from the route."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request; whatever escapes the application is logged and answered with a problem."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        state: dict[str, Any] = scope.setdefault("state", {})
        state.update(request_id=request_id, fields={})
        status: int | None = None

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                # Not with a refusal: its body may not have been read, and closing on it would cut the answer off.
                if _leaving(state) and status < HTTPStatus.BAD_REQUEST:
                    headers["Connection"] = "close"
            await send(message)

        counted = scope["path"] == COLORIZE_PATH and scope["method"] == "POST"
        started = time.monotonic()
        if counted:
            self._metrics.in_flight.inc()
        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            logger.exception("unhandled error", extra={"request_id": request_id})
            if status is None:
                response = problem_response(INTERNAL, "the error was logged under this request's ID", request_id)
                await response(scope, receive, send_with_id)
            status = INTERNAL.status
        finally:
            seconds = time.monotonic() - started
            # None: cancelled before anything could be answered.
            code = status or CLIENT_LEFT
            backbone = state["fields"].get("backbone", "unknown")
            if counted:
                self._metrics.in_flight.dec()
                self._metrics.requests.labels(backbone, code).inc()
                self._metrics.request_seconds.labels(backbone).observe(seconds)
            no_news = scope["path"] in _PROBED_PATHS and code == HTTPStatus.OK
            logger.log(
                logging.DEBUG if no_news else logging.INFO,
                "request",
                extra={
                    "request_id": request_id,
                    "method": scope["method"],
                    "path": scope["path"],
                    "status": code,
                    "seconds": round(seconds, 4),
                    **state["fields"],
                },
            )


def _leaving(state: dict[str, Any]) -> bool:
    """Whether to ask clients to come back on a new connection.

    Routers send new connections elsewhere; but a kept one would bring its next request here, and could do so in the
    very moment in which it is closed.
    """
    lifecycle: Lifecycle = state["lifecycle"]
    return lifecycle.phase is not Phase.READY


def _request_id(scope: Scope) -> str:
    """The client's own ID where it is harmless, else a new one."""
    given = Headers(scope=scope).get("x-request-id", "")
    return given if _SAFE_ID.fullmatch(given) else uuid.uuid4().hex
