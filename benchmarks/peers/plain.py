"""A plain FastAPI route without a queue: what one writes first, and what every batching server must beat.

Starlette's thread pool runs the whole line for one photograph in each of its threads. The network is for one thread at
a time, so it has a lock.

Tried with 16 clients, CPU for a request: 2, 4 and 40 threads, Starlette's own number, take 46 to 48, 47 and 49 ms; two
are as many as there are cores.
"""

import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import torch
import uvicorn
from anyio.to_thread import current_default_thread_limiter
from fastapi import Body, FastAPI, Response

from benchmarks.peers.line import Network, PeerSettings, read, write

_THREADS = 2


def main() -> int:
    """Serves until killed."""
    settings = PeerSettings.from_environment()
    network, lock = Network(settings.backbone, 1, settings.batches), threading.Lock()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        current_default_thread_limiter().total_tokens = _THREADS
        yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/colorize")
    def colorize(data: Annotated[bytes, Body(media_type="image/jpeg")]) -> Response:
        torch.set_num_threads(1)  # of the calling thread
        photograph, lightness = read(data)
        with lock:
            ab = network.predict([lightness])[0]
        return Response(write(photograph, ab), media_type="image/jpeg")

    uvicorn.run(app, host="127.0.0.1", port=settings.port, log_level="warning", access_log=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
