"""What one run of the load showed of one server."""

import json
import math
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import UNANSWERED
from benchmarks.peers.server import PATH, Server


@dataclass(frozen=True, slots=True)
class Measurement:
    """Times in seconds."""

    seconds: float
    arrivals: int
    answered_in_time: int
    """Successes that came before the end of the measurement: what a server that cannot keep up falls short of."""
    latencies: list[float]
    """Of the successes, in ascending order."""
    first_latencies: list[float]
    """The same of the first photograph alone, where there were several."""
    refusals: list[float]
    """Latencies of 429 and 503, in ascending order."""
    refusals_with_retry_after: int
    statuses: dict[int, int]
    mean_batch: float
    server_cpu_s: float
    """For a request, over all processes of the server."""
    client_cpu_s: float
    """For a request."""
    rss_bytes: int
    loop_lag_p99_s: float | None
    """An upper bound; None where it is not measured."""

    @property
    def throughput(self) -> float:
        """Successes in a second."""
        return self.answered_in_time / self.seconds

    @property
    def errors(self) -> int:
        """Everything but successes."""
        return self.arrivals - len(self.latencies)

    @property
    def sustained(self) -> bool:
        """Whether successes kept up with arrivals, but for the two batches that may be under way at the end."""
        return self.arrivals - self.answered_in_time <= max(16, 0.05 * self.arrivals)

    def goodput(self, deadline_s: float) -> float:
        """Successes in a second that came within the deadline."""
        return sum(latency <= deadline_s for latency in self.latencies) / self.seconds

    def latency(self, quantile: float) -> float:
        """Of the successes."""
        return percentile(self.latencies, quantile)


def joined(known: Measurement | None, part: Measurement) -> Measurement:
    """Two parts of one measurement as a whole."""
    if known is None:
        return part
    parts = (known, part)
    arrivals = sum(one.arrivals for one in parts)

    def mean(of: Callable[[Measurement], float]) -> float:
        return sum(of(one) * one.arrivals for one in parts) / max(1, arrivals)

    statuses = Counter(known.statuses)
    statuses.update(part.statuses)
    lags = [one.loop_lag_p99_s for one in parts if one.loop_lag_p99_s is not None]
    return Measurement(
        seconds=known.seconds + part.seconds,
        arrivals=arrivals,
        answered_in_time=known.answered_in_time + part.answered_in_time,
        latencies=sorted(known.latencies + part.latencies),
        first_latencies=sorted(known.first_latencies + part.first_latencies),
        refusals=sorted(known.refusals + part.refusals),
        refusals_with_retry_after=known.refusals_with_retry_after + part.refusals_with_retry_after,
        statuses=dict(sorted(statuses.items())),
        mean_batch=mean(lambda one: one.mean_batch),
        server_cpu_s=mean(lambda one: one.server_cpu_s),
        client_cpu_s=mean(lambda one: one.client_cpu_s),
        rss_bytes=max(one.rss_bytes for one in parts),
        loop_lag_p99_s=max(lags, default=None),
    )


def percentile(ordered: list[float], quantile: float) -> float:
    """The smallest value that at least this share is not above; not a number if there is none."""
    return ordered[max(0, math.ceil(quantile * len(ordered)) - 1)] if ordered else math.nan


def measure(server: Server, photographs: Path | list[Path], *options: str) -> Measurement:
    """Runs the load with these options of its command line."""
    files = [photographs] if isinstance(photographs, Path) else photographs
    batches, lag, cpu_s = server.batches(), server.loop_lag(), server.processes.cpu_s()
    command = [sys.executable, "-m", "benchmarks.load", "--port", str(server.port), "--path", PATH]
    output = subprocess.run(
        [*command, "--photograph", *map(str, files), *options],
        check=True,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    ).stdout
    cpu_s = server.processes.cpu_s() - cpu_s
    rss_bytes = server.processes.rss_bytes()
    done = server.batches()
    load = json.loads(output)
    answers = list(zip(*load["answers"].values(), strict=True))
    successes = [(start, latency, photograph) for start, latency, status, _, photograph in answers if status == 200]
    refusals = [(latency, retry) for _, latency, status, retry, _ in answers if status in (429, 503)]
    statuses = [status for _, _, status, _, _ in answers]
    return Measurement(
        seconds=load["seconds"],
        arrivals=len(answers),
        answered_in_time=sum(start + latency <= load["seconds"] for start, latency, _ in successes),
        latencies=sorted(latency for _, latency, _ in successes),
        first_latencies=sorted(latency for _, latency, photograph in successes if photograph == 0),
        refusals=sorted(latency for latency, _ in refusals),
        refusals_with_retry_after=sum(retry for _, retry in refusals),
        statuses={status: statuses.count(status) for status in sorted(set(statuses))},
        mean_batch=(done.photographs - batches.photographs) / max(1, done.count - batches.count),
        server_cpu_s=cpu_s / max(1, load["answered"]),
        client_cpu_s=load["cpu_s"] / max(1, load["answered"]),
        rss_bytes=rss_bytes,
        loop_lag_p99_s=_histogram_p99(lag, server.loop_lag()),
    )


def describe_statuses(statuses: dict[int, int]) -> str:
    """Everything but successes, as in "429 × 12"."""
    named = {"no answer" if status == UNANSWERED else str(status): count for status, count in statuses.items()}
    return ", ".join(f"{name} × {count}" for name, count in named.items() if name != "200") or "–"


def _histogram_p99(before: dict[float, float], after: dict[float, float]) -> float | None:
    """The bucket's upper edge that 99 % of the observations between two scrapes are not above."""
    counts = {edge: count - before.get(edge, 0) for edge, count in sorted(after.items())}
    if not counts or not counts[math.inf]:
        return None
    return next(edge for edge, count in counts.items() if count >= 0.99 * counts[math.inf])
