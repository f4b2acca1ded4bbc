"""The serving benchmark's figures as Markdown."""

from collections.abc import Iterable

from benchmarks.machine import describe_machine
from benchmarks.peers.figures import CLIENTS, DEADLINE_S, MIX, MIX_SHARE, OVERLOAD, Figures, Target, targets
from benchmarks.peers.measurement import Measurement, describe_statuses, percentile
from benchmarks.table import render_table


def render(figures: Figures) -> str:
    """All tables, the targets first."""
    sections = [
        ("Targets", _targets(targets(figures))),
        ("Bare loop", _bare(figures)),
        ("Closed loop", _closed(figures)),
        ("Open loop", _open(figures)),
        ("Mixed load", _mixed(figures)),
        ("Overload", _overload(figures)),
    ]
    about = [*describe_machine(), f"{figures.backbone}, JPEG of 512 × 512 in and out"]
    about += [f"the plain route's best setting: {figures.plain}"] if figures.plain else []
    about += [f"{name} is left out: {reason}" for name, reason in figures.failures.items()]
    blocks = ["\n".join(f"- {line}" for line in about)]
    return "\n\n".join(blocks + [f"#### {heading}\n\n{table}" for heading, table in sections])


def _targets(rows: Iterable[Target]) -> str:
    return render_table(
        ("", "target", "measured", "", ""),
        (
            (
                row.what,
                f"{'≥' if row.at_least else '≤'} {row.bound:g}",
                f"{row.measured:.3g}",
                "met" if row.met else "**missed**",
                row.note,
            )
            for row in rows
        ),
    )


def _bare(figures: Figures) -> str:
    return render_table(
        ("threads", "calls/s", "each run", "median call, ms, each run"),
        (
            (
                threads,
                f"{figures.bare_throughput(threads):.1f}",
                ", ".join(f"{run[threads]['throughput']:.1f}" for run in figures.bare),
                ", ".join(_ms(run[threads]["p50_s"]) for run in figures.bare),
            )
            for threads in figures.bare[0]
        ),
    )


def _closed(figures: Figures) -> str:
    best = figures.bare_throughput(figures.bare_best)
    return render_table(
        (
            "",
            "1 client: p50, ms",
            "p99",
            f"{CLIENTS} clients: answers/s",
            "÷ bare loop",
            "p50, ms",
            "p99",
            "errors",
            "mean batch",
            "server's CPU, ms/request",
            "load's CPU, ms/request",
            "memory, MB",
        ),
        (
            (
                name,
                _ms(server.single.latency(0.5)),
                _ms(server.single.latency(0.99)),
                f"{server.capacity:.1f}",
                f"{server.capacity / best:.2f}",
                _ms(server.saturated.latency(0.5)),
                _ms(server.saturated.latency(0.99)),
                describe_statuses(server.saturated.statuses),
                f"{server.saturated.mean_batch:.2f}",
                _ms(server.saturated.server_cpu_s),
                f"{1000 * server.saturated.client_cpu_s:.2f}",
                f"{server.saturated.rss_bytes / 2**20:.0f}",
            )
            for name, server in figures.servers.items()
        ),
    )


def _open(figures: Figures) -> str:
    rows: list[tuple[str, ...]] = []
    for share in figures.ours.shares:
        for name, server in figures.servers.items():
            rows.append(_open_row(name, f"{share:.0%}", server.shares[share], server.capacity))
    head = ("", "load", "of its own capacity", "arrivals/s", "answers/s", "p50, ms", "p90", "p99", "errors")
    costs = ("mean batch", "server's CPU, ms/request", "load's CPU, ms/request", "loop lag p99, ms")
    return render_table((*head, *costs), rows)


def _open_row(name: str, load: str, run: Measurement, capacity: float) -> tuple[str, ...]:
    rate = run.arrivals / run.seconds
    return (
        name,
        load,
        f"{rate / capacity:.0%}",
        f"{rate:.1f}",
        f"{run.throughput:.1f}{'' if run.sustained else ' (falls behind)'}",
        _ms(run.latency(0.5)),
        _ms(run.latency(0.9)),
        _ms(run.latency(0.99)),
        describe_statuses(run.statuses),
        f"{run.mean_batch:.2f}",
        _ms(run.server_cpu_s),
        f"{1000 * run.client_cpu_s:.2f}",
        "" if run.loop_lag_p99_s is None else f"≤ {1000 * run.loop_lag_p99_s:g}",
    )


def _mixed(figures: Figures) -> str:
    rows = [
        (
            name,
            f"{run.arrivals / run.seconds:.1f}",
            f"{run.throughput:.1f}{'' if run.sustained else ' (falls behind)'}",
            *(_ms(percentile(run.first_latencies, quantile)) for quantile in (0.5, 0.9, 0.99)),
            *(_ms(run.latency(quantile)) for quantile in (0.5, 0.9, 0.99)),
            describe_statuses(run.statuses),
        )
        for name, server in figures.servers.items()
        if (run := server.mixed) is not None
    ]
    mix = ", ".join(f"{share:.0%} of {size:g} MP" for size, share in MIX.items())
    head = ("", f"arrivals/s ({MIX_SHARE:.0%})", "answers/s", f"{min(MIX):g} MP: p50, ms", "p90", "p99")
    return f"{mix}\n\n" + render_table((*head, "all: p50, ms", "p90", "p99", "errors"), rows)


def _overload(figures: Figures) -> str:
    rows = [
        (
            name,
            f"{run.arrivals / run.seconds:.1f}",
            f"{run.goodput(DEADLINE_S):.1f}",
            f"{run.goodput(DEADLINE_S) / server.capacity:.2f}",
            _ms(run.latency(0.99)),
            f"{len(run.refusals) / max(1, run.arrivals):.0%}",
            _ms(percentile(run.refusals, 0.5)),
            _ms(percentile(run.refusals, 0.99)),
            _ms(percentile(run.refusals, 1)),
            f"{run.refusals_with_retry_after} of {len(run.refusals)}",
            describe_statuses(run.statuses),
        )
        for name, server in figures.servers.items()
        if (run := server.overload) is not None
    ]
    head = ("", f"arrivals/s ({OVERLOAD:.0%})", f"answers/s within {DEADLINE_S:g} s", "÷ own capacity", "p99, ms")
    refusals = ("refused", "p50, ms", "p99", "slowest", "with Retry-After", "other than 200")
    return render_table((*head, *refusals), rows)


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.1f}" if seconds == seconds else "–"  # what was never seen is not a number
