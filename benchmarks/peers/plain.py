"""A plain FastAPI route without a queue: what one writes first, and what every batching server must beat.

Starlette's thread pool runs the whole line for one photograph in each of its threads. The benchmark tries every
setting of `PLAIN_SETTINGS` on the machine at hand and takes the one with the largest throughput: a network on all cores
behind a lock, or one on a single core for each thread.
"""

import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from typing import Annotated

import torch
import uvicorn
from anyio.to_thread import current_default_thread_limiter
from fastapi import Body, FastAPI, Response

from benchmarks.peers.line import Network, PeerSettings, read, write


def main() -> int:
    """Serves until killed."""
    settings = PeerSettings.from_environment()
    plain = settings.plain
    if plain.lock:
        network = Network(settings.backbone, 1, settings.batches)
    else:
        network = Network(settings.backbone, 1, settings.batches, cores=1, at_once=plain.threads)
    lock = threading.Lock() if plain.lock else nullcontext()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        current_default_thread_limiter().total_tokens = plain.threads
        yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/colorize")
    def colorize(data: Annotated[bytes, Body(media_type="image/jpeg")]) -> Response:
        torch.set_num_threads(1)  # of the calling thread
        job, lightness = read(data)
        with lock:
            answer = network.predict([lightness])[0]
        return Response(write(job, answer), media_type="image/jpeg")

    uvicorn.run(app, host="127.0.0.1", port=settings.port, log_level="warning", access_log=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
