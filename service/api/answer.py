"""The answer's way out."""

from contextlib import ExitStack

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.engine.memory import Lease

_CHUNK_BYTES = 2**18
"""Sent at once: the server waits between chunks for a client that is slow to take them."""


class LeasedResponse(Response):
    """Bytes whose memory is leased until the client has taken all but the last of them, or has left."""

    def __init__(self, data: bytes | memoryview, media_type: str, lease: Lease) -> None:
        super().__init__(data, media_type=media_type)
        self._held = ExitStack()
        self._held.enter_context(lease)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Sends it in pieces."""
        body = memoryview(self.body)
        with self._held:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            for begin in range(0, len(body), _CHUNK_BYTES):
                end = begin + _CHUNK_BYTES
                await send({"type": "http.response.body", "body": body[begin:end], "more_body": end < len(body)})
