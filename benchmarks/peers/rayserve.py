"""Ray Serve, with batches of up to 8, a window of 30 ms, and one replica that runs the whole line in the batch.

Tried with 16 clients, CPU for a request: this, 47 ms; windows of 0 and 10 ms, 59 and 53 ms, because a batch is frozen
when its window ends, however long the replica is busy still. Only the network in the batch, and codec threads beside
it: 66 ms, as batches stay at 1.05; with RAY_SERVE_THROUGHPUT_OPTIMIZED 68 ms.
"""

import asyncio
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import Response

from benchmarks.peers.line import Network, PeerSettings, codec_threads, read, write

_MAX_BATCH_SIZE = 8
_BATCH_WAIT_S = 0.03
_ONGOING = 32


@serve.deployment(max_ongoing_requests=_ONGOING, num_replicas=1)
class Colorization:
    """One replica."""

    def __init__(self) -> None:
        settings = PeerSettings.from_environment()
        self._network = Network(settings.backbone, _MAX_BATCH_SIZE, settings.batches)
        self._batch = ThreadPoolExecutor(1, "batch")
        self._threads = codec_threads("codec")

    async def __call__(self, request: Request) -> Response:
        """Colours one photograph."""
        return Response(await self.predict(await request.body()), media_type="image/jpeg")

    @serve.batch(max_batch_size=_MAX_BATCH_SIZE, batch_wait_timeout_s=_BATCH_WAIT_S)
    async def predict(self, files: list[bytes]) -> list[bytes]:
        """Called with one photograph's file, run with a batch's."""
        return await asyncio.get_running_loop().run_in_executor(self._batch, self._colorize, files)

    def _colorize(self, files: list[bytes]) -> list[bytes]:
        jobs, lightness = zip(*self._threads.map(read, files), strict=True)
        return list(self._threads.map(write, jobs, self._network.predict(lightness)))


def main() -> int:
    """Serves until killed."""
    settings = PeerSettings.from_environment()
    ray.init(
        include_dashboard=False,
        configure_logging=False,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
        object_store_memory=100 * 2**20,
    )
    serve.start(
        http_options={"host": "127.0.0.1", "port": settings.port, "request_timeout_s": settings.deadline_s},
        logging_config={"log_level": "WARNING", "enable_access_log": False},
    )
    deployment: Any = Colorization
    serve.run(deployment.bind(), route_prefix="/colorize")
    threading.Event().wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
