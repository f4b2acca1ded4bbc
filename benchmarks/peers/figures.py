"""All that the serving benchmark measures, and what follows from it."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.peers.measurement import Measurement, percentile
from benchmarks.peers.server import OURS

CLIENTS = 16
"""Of the closed loop at saturation: two full batches of every server."""

SHARES = (0.3, 0.6, 0.9)
"""Arrival rates, of the service's capacity."""

COMPARED = 0.6
"""The share that latencies are compared at; measured for twice as long, for the 99th percentile's sake."""

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
    own_share: Measurement | None = None
    """At `COMPARED` of its own capacity."""
    overload: Measurement | None = None

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
    rss_bytes: list[int] = field(default_factory=list)
    """The service's, after each of MEMORY_REQUESTS."""

    @property
    def ours(self) -> ServerFigures:
        """The service's."""
        return self.servers[OURS]

    @property
    def peers(self) -> dict[str, ServerFigures]:
        """Everybody else's."""
        return {name: figures for name, figures in self.servers.items() if name != OURS}

    def bare_throughput(self, threads: str) -> float:
        """Calls in a second, the mean over the bare loop's runs before and after the service."""
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
        Target("throughput ÷ bare loop", 0.92, True, ours.capacity / figures.bare_throughput(best), f"{best} threads"),
        Target("median of a single client ÷ bare call", 1.10, False, ours.single.latency(0.5) / figures.bare_call_s),
    ]
    if figures.peers:
        name, fastest = max(figures.peers.items(), key=lambda peer: peer[1].capacity)
        rows.append(Target("throughput ÷ best peer's", 1.25, True, ours.capacity / fastest.capacity, name))
        p99 = ours.shares[COMPARED].latency(0.99)
        rows += _compared("same rate", p99, figures, lambda peer: peer.shares[COMPARED])
        rows += _compared("each at 60 % of its own capacity", p99, figures, lambda peer: peer.own_share)
    if (overload := ours.overload) is not None:
        refused = overload.refusals
        rows += [
            Target(
                f"goodput at {OVERLOAD:.0%} load ÷ capacity",
                0.95,
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


def _compared(
    how: str, p99: float, figures: Figures, measurement: Callable[[ServerFigures], Measurement | None]
) -> list[Target]:
    """The service's 99th percentile against the lowest among the peers that keep up."""
    measured = {name: measurement(peer) for name, peer in figures.peers.items()}
    kept_up = {name: run.latency(0.99) for name, run in measured.items() if run is not None and run.sustained}
    what = f"99th percentile at {COMPARED:.0%} load ÷ best peer's, {how}"
    if not kept_up:
        return [Target(what, 0.75, False, 0, "no peer keeps up")]
    best = min(kept_up, key=kept_up.__getitem__)
    return [Target(what, 0.75, False, p99 / kept_up[best], best)]
