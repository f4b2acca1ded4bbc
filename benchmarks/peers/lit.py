"""LitServe, with batches of up to 8, a window of 1 ms, and one worker.

Tried with 16 clients, CPU for a request: windows of 1 and 2 ms take 40 ms, two workers 47 ms and two fifths more
memory. Without a window its worker polls an empty queue and keeps a core busy. A window of 10 ms makes fuller batches
(7.9, not 6.4), and every client of an idle server wait for it.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

import litserve
from fastapi import Body, Response

from benchmarks.peers.line import Network, PeerSettings, codec_threads, read, write

_MAX_BATCH_SIZE = 8
_BATCH_TIMEOUT_S = 0.001


class Colorization(litserve.LitAPI):
    """Codec and network in the worker's process: a file is far smaller to pass between processes than its pixels."""

    _network: Network
    _threads: ThreadPoolExecutor

    def setup(self, device: str) -> None:  # noqa: ARG002
        """In each worker's process, at its start."""
        settings = PeerSettings.from_environment()
        self._network = Network(settings.backbone, _MAX_BATCH_SIZE, settings.batches)
        self._threads = codec_threads("codec")

    def decode_request(self, request: Annotated[bytes, Body(media_type="image/jpeg")]) -> bytes:
        """The body as it came: `predict` reads those of a batch side by side."""
        return request

    def batch(self, inputs: list[bytes]) -> list[bytes]:
        """As they are."""
        return inputs

    def predict(self, batch: list[bytes]) -> list[bytes]:
        """Colours a batch of files."""
        jobs, lightness = zip(*self._threads.map(read, batch), strict=True)
        return list(self._threads.map(write, jobs, self._network.predict(lightness)))

    def unbatch(self, output: list[bytes]) -> list[bytes]:
        """As they are."""
        return output

    def encode_response(self, output: bytes) -> Response:
        """The file, ready to be sent."""
        return Response(output, media_type="image/jpeg")


def main() -> int:
    """Serves until killed."""
    settings = PeerSettings.from_environment()
    api: Any = Colorization(max_batch_size=_MAX_BATCH_SIZE, batch_timeout=_BATCH_TIMEOUT_S, api_path="/colorize")
    server = litserve.LitServer(
        api,
        accelerator="cpu",
        workers_per_device=1,
        timeout=settings.deadline_s or False,
        fast_queue=True,  # ZeroMQ
    )
    server.run(
        host="127.0.0.1",
        port=settings.port,
        num_api_servers=1,
        log_level="warning",
        access_log=False,
        generate_client_file=False,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
