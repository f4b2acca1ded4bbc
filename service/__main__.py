"""`python -m service`: the server process, from its settings to its exit status."""

import os
import signal

if __name__ == "__main__":
    # A container's first process ignores every signal without a handler, and the imports that follow take seconds: an
    # orchestrator would wait for the whole of its grace period. Not sys.exit: its exception would be lost in a callback
    # of numba's compiler. Nothing is open yet that would have to be closed.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))

import argparse
import asyncio
import logging
import socket
import sys
from contextlib import suppress
from importlib.metadata import version
from types import FrameType

import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError
from starlette.types import Message, Receive, Scope, Send

from service.app import START_UP_ERRORS, create_app
from service.connections import PatientProtocol
from service.engine.lifecycle import Phase
from service.settings import Settings, describe_settings
from service.telemetry.logging import configure_logging

logger = logging.getLogger(__name__)


class StartUp:
    """The application; where its start-up fails for a known reason, a line says so, without a traceback."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self.failure: str | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        with suppress(*START_UP_ERRORS):
            await self._app(scope, receive, self._tell_briefly(send))

    def _tell_briefly(self, send: Send) -> Send:
        async def tell(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed" and isinstance(sys.exception(), START_UP_ERRORS):
                # Kept now: once the server is told, it does not wait for what else happens here.
                self.failure = str(sys.exception())
                message = dict(message) | {"message": self.failure}
            await send(message)

        return tell


class Server(uvicorn.Server):
    """uvicorn, leaving in the order orchestrators need: unready first, then deaf, then done, then exit status 0."""

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        self.start_up = StartUp(app)
        config = uvicorn.Config(
            self.start_up,
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,  # the application writes one line a request, with more in it
            server_header=False,
            http=type("Protocol", (PatientProtocol,), {"write_timeout_s": settings.write_timeout_s}),
            timeout_keep_alive=settings.keep_alive_s,  # type: ignore[arg-type]  # it may be a fraction
            limit_concurrency=settings.max_connections,
            # Whoever was admitted is answered, within its two deadlines; who is slow to take it may be cut off.
            timeout_graceful_shutdown=int(settings.upload_timeout_s + settings.request_timeout_s) + 5,
        )
        super().__init__(config)
        self._app = app
        self._drain_s = settings.drain_s

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """SIGTERM drains; Ctrl-C, or a second signal, does not wait for routers to notice."""
        lifecycle = getattr(self._app.state, "lifecycle", None)
        if lifecycle is None or lifecycle.phase is not Phase.READY or sig == signal.SIGINT:
            self.force_exit = self.should_exit and sig == signal.SIGINT
            self._stop()
            return
        lifecycle.phase = Phase.DRAINING
        # A signal may come while the loop is changing its own timers.
        loop = asyncio.get_running_loop()
        loop.call_soon_threadsafe(loop.call_later, self._drain_s, self._stop)

    def _stop(self) -> None:
        if (lifecycle := getattr(self._app.state, "lifecycle", None)) is not None:
            lifecycle.phase = Phase.CLOSED
        self.should_exit = True


def main(arguments: list[str] | None = None) -> int:
    """Serves until told to stop; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m service",
        description="Serves Autochrome until told to stop.",
        epilog=describe_settings(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"autochrome {version('autochrome')}")
    parser.parse_args(arguments)
    try:
        settings = Settings()
    except ValidationError as error:
        for part in error.errors():
            name = f"AUTOCHROME_{str(part['loc'][0]).upper()}: " if part["loc"] else ""
            print(f"error in the settings: {name}{part['msg']}", file=sys.stderr)
        return 2
    configure_logging(settings.log_format)
    server = Server(create_app(settings), settings)
    try:
        listener = bind(settings.host, settings.port)
    except OSError as error:
        # Before the models are loaded, which takes seconds.
        logger.critical("cannot listen on %s:%s: %s", settings.host, settings.port, error.strerror)
        return 3
    try:
        with listener:
            server.run([listener])
    finally:  # uvicorn exits where start-up fails
        if server.start_up.failure is not None:
            logger.critical("start-up failed: %s", server.start_up.failure)
    return 0 if server.started else 3


def bind(host: str, port: int) -> socket.socket:
    """A socket that is bound, and refuses connections until it listens.

    Raises:
        OSError: The address is taken, or none of this machine's.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener


if __name__ == "__main__":
    sys.exit(main())
