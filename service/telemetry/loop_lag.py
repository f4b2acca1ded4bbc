"""How late the event loop comes to what is due: the one number that says whether something blocks it."""

import asyncio

from prometheus_client import Histogram

_INTERVAL_S = 0.05


async def watch_loop(lag_seconds: Histogram) -> None:
    """Observes, twenty times a second and until cancelled, by how much a timer of the running loop is late."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _INTERVAL_S
        await asyncio.sleep(_INTERVAL_S)
        lag_seconds.observe(max(0.0, loop.time() - due))
