"""All that the serving benchmark measures, and what follows from it."""

import math
from dataclasses import dataclass, field

from benchmarks.peers.measurement import Measurement, percentile
from benchmarks.peers.server import OURS, PLAIN

TURNS = 4
"""Every measurement is made in so many parts."""

CLIENTS = 16
"""Of the closed loop at saturation: two full batches of every server."""

SHARES = (0.3, 0.6, 0.9)
"""Arrival rates, of the service's capacity."""

COMPARED = {0.6: 0.9, 0.9: 0.8}
"""The shares that 99th percentiles are compared at, for which they are measured twice as long, and the ratio wanted."""

MIX = {0.25: 0.8, 2.0: 0.15, 12.0: 0.05}
"""Megapixels of the photographs of the mixed load, and how often each of them comes."""

MIX_SHARE = 0.6
"""Arrivals of the mixed load, of what the service can do of it."""

OVERLOAD, DEADLINE_S = 2.0, 0.5
"""Arrivals at so many times the service's capacity, from clients that wait for so long."""

MEMORY_REQUESTS = (500, 10_000)
"""Resident memory is compared after so many."""


@dataclass(slots=True)
class ServerFigures:
    """Of one server."""

    single: Measurement
    saturated: Measurement
    shares: dict[float, Measurement] = field(default_factory=dict)
    """By share of the service's capacity."""
    overload: Measurement | None = None
    mixed: Measurement | None = None

    @property
    def capacity(self) -> float:
        """Answers in a second."""
        return self.saturated.throughput


@dataclass(slots=True)
class Figures:
    """Of all servers and of the bare loop."""

    backbone: str
    bare: list[dict[str, dict[str, float]]] = field(default_factory=list)
    """Each run of the bare loop: by number of threads, median call (`p50_s`) and calls in a second (`throughput`)."""
    servers: dict[str, ServerFigures] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    """Peers that did not hold out to the end, and why."""
    plain: str = ""
    """The setting of the plain route that was the best, in words."""
    rss_bytes: list[int] = field(default_factory=list)
    """The service's, after each of MEMORY_REQUESTS."""
    idle_rss_bytes: int | None = None
    """Of the service with both backbones, before any request."""
    start_s: float | None = None
    """From the start of that service's process to its readiness, the second time."""

    @property
    def ours(self) -> ServerFigures:
        """The service's."""
        return self.servers[OURS]

    @property
    def peers(self) -> dict[str, ServerFigures]:
        """Everybody else's."""
        return {name: figures for name, figures in self.servers.items() if name != OURS}

    def bare_throughput(self, threads: str) -> float:
        """Calls in a second, the mean over the bare loop's runs."""
        return sum(run[threads]["throughput"] for run in self.bare) / len(self.bare)

    @property
    def bare_best(self) -> str:
        """The number of threads that is fastest."""
        return max(self.bare[0], key=self.bare_throughput)

    @property
    def bare_call_s(self) -> float:
        """The median call, one thread after the other; the mean over the runs."""
        return sum(run["1"]["p50_s"] for run in self.bare) / len(self.bare)


@dataclass(frozen=True, slots=True)
class Target:
    """A figure with what it shall be."""

    what: str
    bound: float
    at_least: bool
    measured: float
    note: str = ""

    @property
    def met(self) -> bool:
        """Never by something that is not a number."""
        return self.measured >= self.bound if self.at_least else self.measured <= self.bound


def targets(figures: Figures) -> list[Target]:
    """All that can be told from what was measured."""
    ours = figures.ours
    best = figures.bare_best
    rows = [
        Target("throughput ÷ bare loop", 0.95, True, ours.capacity / figures.bare_throughput(best), f"{best} threads"),
        Target("median of a single client ÷ bare call", 1.08, False, ours.single.latency(0.5) / figures.bare_call_s),
    ]
    if figures.peers:
        name, fastest = max(figures.peers.items(), key=lambda peer: peer[1].capacity)
        rows.append(Target("throughput ÷ best peer's", 1.10, True, ours.capacity / fastest.capacity, name))
    if (plain := figures.peers.get(PLAIN)) is not None:
        rows += [
            Target(
                f"99th percentile at {share:.0%} load ÷ {PLAIN}'s, same rate",
                bound,
                False,
                ours.shares[share].latency(0.99) / plain.shares[share].latency(0.99),
            )
            for share, bound in COMPARED.items()
        ]
        if ours.mixed is not None and plain.mixed is not None:
            ratio = percentile(ours.mixed.first_latencies, 0.99) / percentile(plain.mixed.first_latencies, 0.99)
            rows.append(Target(f"mixed load: 99th percentile of the small ones ÷ {PLAIN}'s", 0.6, False, ratio))
    if (overload := ours.overload) is not None:
        refused = overload.refusals
        rows += [
            Target(
                f"goodput at {OVERLOAD:.0%} load ÷ capacity",
                0.97,
                True,
                overload.goodput(DEADLINE_S) / ours.capacity,
                f"within {1000 * DEADLINE_S:g} ms of the scheduled arrival",
            ),
            Target("slowest refusal, ms", 50, False, 1000 * percentile(refused, 1), f"{len(refused)} refusals"),
            Target("99th percentile of refusals, ms", 50, False, 1000 * percentile(refused, 0.99)),
            Target(
                "refusals with Retry-After, share",
                1,
                True,
                overload.refusals_with_retry_after / len(refused) if refused else math.nan,
            ),
        ]
    if figures.idle_rss_bytes is not None:
        rows.append(Target("memory idle, both backbones, GB", 1.3, False, figures.idle_rss_bytes / 1e9))
    if figures.start_s is not None:
        rows.append(Target("second start to ready, s", 8, False, figures.start_s))
    if figures.rss_bytes:
        first, last = figures.rss_bytes
        rows.append(
            Target(
                f"memory after {MEMORY_REQUESTS[1]} requests − after {MEMORY_REQUESTS[0]}, MB",
                20,
                False,
                (last - first) / 2**20,
                f"{first / 2**20:.0f} → {last / 2**20:.0f}",
            )
        )
    return rows
