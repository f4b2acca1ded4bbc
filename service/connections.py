"""HTTP connections that do not wait for ever."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's, but a client that does not take what waits for it within `write_timeout_s` is dropped."""

    write_timeout_s = 60.0
    _giving_up: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        """The client does not take what was written."""
        super().pause_writing()
        transport: Any = self.transport
        self._giving_up = self.loop.call_later(self.write_timeout_s, transport.abort)

    def resume_writing(self) -> None:
        """It has taken most of it."""
        super().resume_writing()
        self._keep()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has left, or was dropped."""
        self._keep()
        super().connection_lost(exc)

    def _keep(self) -> None:
        if self._giving_up is not None:
            self._giving_up.cancel()
