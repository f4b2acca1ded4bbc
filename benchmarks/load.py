"""The load, in a process of its own: `python -m benchmarks.load`, figures as JSON on standard output.

Closed loop: so many clients, each of which asks again as soon as it has its answer. Open loop: Poisson arrivals that
wait for nobody, and latency counted from the *scheduled* arrival, so that a server that stalls the client is charged
for it (no coordinated omission).

It shares the cores with the server that it measures, so it is asyncio with nothing on top: one protocol object for each
kept connection, a request that is one prepared `bytes`, and an answer of which only status, length and Retry-After are
looked at. It costs a tenth of a millisecond for a request; an HTTP client library costs several times that.
"""

import argparse
import asyncio
import json
import random
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import cast

UNANSWERED = 0
"""The status of a request whose connection broke, or whose answer did not come in time."""

_RECONNECT_S = 0.05  # between a broken connection and the next try, so that a dead server is not spun on


@dataclass(slots=True)
class Answers:
    """What became of every request, in columns; seconds."""

    start: list[float] = field(default_factory=list)
    """Scheduled arrival (open loop) or moment of sending (closed loop), from the beginning of the measurement on."""
    latency: list[float] = field(default_factory=list)
    status: list[int] = field(default_factory=list)
    retry_after: list[bool] = field(default_factory=list)
    photograph: list[int] = field(default_factory=list)
    """Which of those given."""

    def add(self, start: float, latency: float, status: int, retry_after: bool, photograph: int) -> None:
        """One more request."""
        self.start.append(start)
        self.latency.append(latency)
        self.status.append(status)
        self.retry_after.append(retry_after)
        self.photograph.append(photograph)


Done = Callable[["Connection", int, bool], None]
"""Called with the connection, the status of its answer, and whether that had a Retry-After."""


class Connection(asyncio.Protocol):
    """One kept HTTP/1.1 connection with at most one request under way."""

    def __init__(self, closed: Callable[["Connection"], None]) -> None:
        self._closed = closed
        self._transport: asyncio.Transport | None = None
        self._done: Done | None = None
        self._head = b""
        self._missing = -1  # bytes of the body still to come; -1: the header is not complete

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self._transport = cast(asyncio.Transport, transport)

    def ask(self, request: bytes, done: Done) -> None:
        """Sends a request and has `done` called at the end of its answer, or of the connection."""
        assert self._transport is not None
        assert self._done is None
        self._done, self._head, self._missing = done, b"", -1
        self._transport.write(request)

    def close(self) -> None:
        """Gives up, whatever is under way."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """More of an answer."""
        if self._missing >= 0:
            self._missing -= len(data)
        else:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            rest = len(self._head) - end - 4
            self._head = self._head[: end + 2].lower()
            length = self._field(b"content-length")
            if length is None:  # none of the servers sends a photograph so, and of an error the status is enough
                self._closed(self)
                self.close()
            self._missing = int(length or 0) - rest
        if self._missing <= 0 and self._done is not None:
            done, self._done = self._done, None
            done(self, int(self._head[9:12]), self._field(b"retry-after") is not None)

    def _field(self, name: bytes) -> bytes | None:
        begin = self._head.find(b"\r\n" + name + b":")
        if begin < 0:
            return None
        begin += len(name) + 3
        return self._head[begin : self._head.index(b"\r\n", begin)].strip()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        """The server, or `close`, ended it."""
        self._closed(self)
        if self._done is not None:
            done, self._done = self._done, None
            done(self, UNANSWERED, False)


class Client:
    """Asks one server for photographs, over and over: for one, or for several, each so often as its weight says."""

    def __init__(self, port: int, path: str, bodies: list[bytes], weights: list[float], seed: int) -> None:
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: image/jpeg\r\n"
        self._requests = [f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in bodies]
        self._weights = weights
        self._draw = random.Random(seed + 1)  # not the arrivals' own sequence
        self._port = port
        self._loop = asyncio.get_running_loop()
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._pending = 0
        self.answers = Answers()
        self.answered = 0
        """Over all the run, unlike `answers`, which leaves the warm-up out."""

    async def closed_loop(self, clients: int, warm_up_s: float, seconds: float, requests: int | None) -> float:
        """Keeps so many requests under way; returns the seconds over which `answers` came.

        With `requests`, ends after so many instead of after `seconds`.
        """
        begin = self._loop.time() + warm_up_s
        end = begin + seconds if requests is None else float("inf")
        left = float("inf") if requests is None else requests
        finished = self._loop.create_future()

        def ask() -> None:
            nonlocal left
            if self._loop.time() < end and left > 0:
                left -= 1
                self._send(self._loop.time(), settle)
            elif self._pending == 0 and not finished.done():
                finished.set_result(None)

        def settle(sent: float, status: int, retry_after: bool, photograph: int) -> None:
            now = self._loop.time()
            if begin <= now < end:
                self.answers.add(sent - begin, now - sent, status, retry_after, photograph)
            if status == UNANSWERED:
                self._loop.call_later(_RECONNECT_S, ask)
            else:
                ask()

        for _ in range(clients):
            ask()
        await finished
        return seconds if requests is None else self._loop.time() - begin

    async def open_loop(self, rate: float, seconds: float, seed: int, patience_s: float) -> float:
        """Lets requests arrive for `seconds`, and waits `patience_s` more for answers; returns `seconds`."""
        arrivals = random.Random(seed)
        begin = self._loop.time()
        due = begin + arrivals.expovariate(rate)
        finished = asyncio.Event()

        def settle(scheduled: float, status: int, retry_after: bool, photograph: int) -> None:
            self.answers.add(scheduled - begin, self._loop.time() - scheduled, status, retry_after, photograph)
            finished.set()

        while due < begin + seconds:
            if (wait := due - self._loop.time()) > 0:
                await asyncio.sleep(wait)
            self._send(due, settle)
            due += arrivals.expovariate(rate)
        try:
            async with asyncio.timeout_at(begin + seconds + patience_s):
                while self._pending:
                    finished.clear()
                    await finished.wait()
        except TimeoutError:
            self.close()
            await asyncio.sleep(0.1)  # the connections' ends count as their requests' answers
        return seconds

    def close(self) -> None:
        """Ends every connection."""
        for connection in list(self._open):
            connection.close()

    def _send(self, since: float, settle: Callable[[float, int, bool, int], None]) -> None:
        self._pending += 1
        photograph = self._draw.choices(range(len(self._requests)), self._weights)[0]

        def done(connection: Connection, status: int, retry_after: bool) -> None:
            self._pending -= 1
            self.answered += status != UNANSWERED
            if connection in self._open:
                self._idle.append(connection)
            settle(since, status, retry_after, photograph)

        if self._idle:
            self._idle.pop().ask(self._requests[photograph], done)
        else:
            opening = self._loop.create_task(self._connect(self._requests[photograph], done))
            self._opening.add(opening)
            opening.add_done_callback(self._opening.discard)

    async def _connect(self, request: bytes, done: Done) -> None:
        connection = Connection(self._forget)
        try:
            await self._loop.create_connection(lambda: connection, "127.0.0.1", self._port)
        except OSError:
            done(connection, UNANSWERED, False)
            return
        self._open.add(connection)
        connection.ask(request, done)

    def _forget(self, connection: Connection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)


async def _run(arguments: argparse.Namespace) -> dict[str, object]:
    bodies = [file.read_bytes() for file in arguments.photograph]
    weights = arguments.weight or [1.0] * len(bodies)
    client = Client(arguments.port, arguments.path, bodies, weights, arguments.seed)
    cpu_s = time.process_time()
    if arguments.rate is None:
        seconds = await client.closed_loop(arguments.clients, arguments.warm_up, arguments.seconds, arguments.requests)
    else:
        seconds = await client.open_loop(arguments.rate, arguments.seconds, arguments.seed, arguments.patience)
    cpu_s = time.process_time() - cpu_s
    client.close()
    return {"seconds": seconds, "answered": client.answered, "cpu_s": cpu_s, "answers": asdict(client.answers)}


def main() -> int:
    """Runs one measurement."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--photograph", type=Path, required=True, nargs="+")
    parser.add_argument("--weight", type=float, nargs="+", help="how often each photograph is sent; default: equally")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--clients", type=int, default=1, help="closed loop")
    parser.add_argument("--warm-up", type=float, default=0, help="closed loop: seconds before those measured")
    parser.add_argument("--requests", type=int, help="closed loop: end after so many, whatever --seconds says")
    parser.add_argument("--rate", type=float, help="open loop: arrivals per second")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the arrivals (open loop), and of which photograph comes"
    )
    parser.add_argument("--patience", type=float, default=30, help="open loop: seconds to wait for the last answers")
    arguments = parser.parse_args()
    # Every request under way has a connection.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    json.dump(asyncio.run(_run(arguments)), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
