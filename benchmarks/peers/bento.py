"""BentoML, with its adaptive batching.

The whole line runs in the batch, codec side by side on threads, in the one process that also speaks HTTP.

Tried with 16 clients, CPU for a request: this, 38 ms; with two workers 39 ms, and half as much memory again. The
documented way, a service for HTTP and codec before one for the network, 62 ms: batches stay at 1.2, and pixels travel
between processes. The whole line in the second service, 41 ms, but up to one request in eight failed: the connection
between the services breaks ("Server disconnected").
"""

import sys
from collections.abc import Sequence
from typing import Any

import bentoml
from starlette.requests import Request
from starlette.responses import Response

from benchmarks.peers.line import Network, PeerSettings, codec_threads, read, write

_SETTINGS = PeerSettings.from_environment()
_MAX_BATCH_SIZE = 8
_LONGEST_S = 60.0


class Upload(bentoml.IODescriptor):
    """A batch of one: the body as it came."""

    files: list[bytes]

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> "Upload":  # noqa: ARG003
        """BentoML's own input types would want JSON for a list."""
        return cls.model_construct(files=[await request.body()])


class Download(bentoml.IODescriptor):
    """A batch of one: the body to send."""

    files: list[bytes]

    @classmethod
    async def to_http_response(cls, obj: Sequence[bytes], serde: Any) -> Response:  # noqa: ARG003
        """As it is."""
        return Response(obj[0], media_type="image/jpeg")


@bentoml.service(
    workers=1,
    traffic={"timeout": _LONGEST_S},
    logging={"access": {"enabled": False}},
    metrics={"enabled": False},
)
class Colorization:
    """Answers with colour."""

    def __init__(self) -> None:
        self._network = Network(_SETTINGS.backbone, _MAX_BATCH_SIZE, _SETTINGS.batches)
        self._threads = codec_threads("codec")

    @bentoml.api(
        batchable=True,
        max_batch_size=_MAX_BATCH_SIZE,
        # Also what it sheds load by: whom it predicts to wait longer gets a 503.
        max_latency_ms=int(1000 * (_SETTINGS.deadline_s or _LONGEST_S)),
        input_spec=Upload,
        output_spec=Download,
    )
    def colorize(self, files: list[bytes]) -> list[bytes]:
        """Called with one photograph's file, run with a batch's."""
        jobs, lightness = zip(*self._threads.map(read, files), strict=True)
        return list(self._threads.map(write, jobs, self._network.predict(lightness)))


def main() -> int:
    """Serves until killed."""
    bentoml.serve("benchmarks.peers.bento:Colorization", host="127.0.0.1", port=_SETTINGS.port, blocking=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
