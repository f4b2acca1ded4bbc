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
import sys
from types import FrameType

import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError

from service.app import create_app
from service.engine.lifecycle import Phase
from service.settings import Settings
from service.telemetry.logging import configure_logging


class Server(uvicorn.Server):
    """uvicorn, leaving in the order orchestrators need: unready first, then deaf, then done, then exit status 0."""

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        config = uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,  # the application writes one line a request, with more in it
            server_header=False,
            # Whoever was admitted is answered: no request lasts longer than its two deadlines.
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
    parser = argparse.ArgumentParser(prog="python -m service", description="Serves Autochrome until told to stop.")
    parser.epilog = "There are no options: settings are environment variables, see README.md."
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
    server.run()
    return 0 if server.started else 3


if __name__ == "__main__":
    sys.exit(main())
