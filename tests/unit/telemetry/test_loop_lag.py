import asyncio
import time

import pytest
from prometheus_client import CollectorRegistry

from service.telemetry.loop_lag import watch_loop
from service.telemetry.metrics import Metrics

pytestmark = pytest.mark.anyio


class Watched:
    """The running loop, watched; read as a scrape would."""

    def __init__(self) -> None:
        self._metrics = Metrics(CollectorRegistry())
        self._observed = asyncio.Semaphore(0)
        self.watch = asyncio.create_task(watch_loop(self))  # type: ignore[arg-type]

    def observe(self, lag_s: float) -> None:
        """The histogram's, and tells the test."""
        self._metrics.loop_lag_seconds.observe(lag_s)
        self._observed.release()

    async def next(self) -> float:
        """The sum of all lags after one more observation."""
        await self._observed.acquire()
        total = self._metrics.registry.get_sample_value("autochrome_loop_lag_seconds_sum")
        assert total is not None
        return total


async def test_a_blocked_loop_shows() -> None:
    watched = Watched()
    before = await watched.next()
    time.sleep(0.5)  # noqa: ASYNC251 - this is the fault that must show
    # Its timer was due in the midst of that.
    assert await watched.next() - before > 0.4
    watched.watch.cancel()


async def test_a_free_loop_is_watched_until_cancelled() -> None:
    watched = Watched()
    assert 0 <= await watched.next() <= await watched.next()
    watched.watch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watched.watch
