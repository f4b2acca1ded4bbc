"""Tables in Markdown, and the network benchmark's figures in them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

CHOSEN = "ours"
"""The path that the service takes."""

LARGEST_DIFFERENCE = 1.0
"""Mean ΔE_ab from which on a path no longer answers the same picture."""


@dataclass(frozen=True)
class Measured:
    """What was measured of one path."""

    name: str
    milliseconds: Mapping[int, float]
    """An image, by batch size."""
    difference: float
    """Mean ΔE_ab against eager float32, as served."""
    precision: str
    ceiling: str
    seconds: float
    """From the loaded network to the first answer."""
    peer: bool
    """Whether it is somebody else's way to run the network, that ours must not be slower than."""

    @property
    def faithful(self) -> bool:
        """Whether the picture does not suffer."""
        return self.difference <= LARGEST_DIFFERENCE


@dataclass(frozen=True)
class Network:
    """What was measured of one backbone's network."""

    backbone: str
    gflop: float
    """Floating-point operations for one photograph, in 10⁹; a multiply-add is two."""
    paths: Sequence[Measured]
    failures: Mapping[str, str]
    """Paths that could not be built, and why."""


def render_ceilings(gflops: Mapping[str, float]) -> str:
    """The best matrix products: what "% of ceiling" is about."""
    figures = ", ".join(f"{precision} {value:.0f}" for precision, value in gflops.items())
    return f"GEMM ceiling, GFLOP/s: {figures}"


def render_network(network: Network, gflops: Mapping[str, float]) -> str:
    """All paths of one backbone, those that are missing, and ours beside the best peer."""
    sizes = list(network.paths[0].milliseconds) if network.paths else []
    columns = [
        "ms an image",
        *(f"batch {size}" for size in sizes),
        "of the ceiling",
        "ΔE_ab",
        "computes in",
        "start-up, s",
    ]
    parts = [
        f"### {network.backbone}",
        f"{network.gflop:.2f} GFLOP an image; the share of the ceiling is at the smallest and the largest batch.",
        render_table(columns, [_row(path, network.gflop, gflops) for path in network.paths]),
    ]
    parts += [f"- {name}: {reason}" for name, reason in network.failures.items()]
    return "\n\n".join(part for part in [*parts, _comparison(network.paths)] if part)


def _row(path: Measured, gflop: float, gflops: Mapping[str, float]) -> list[str]:
    # GFLOP and milliseconds make TFLOP/s.
    shares = [gflop / value * 1e3 / gflops[path.ceiling] for value in path.milliseconds.values()]
    name = f"**{path.name}**" if path.name == CHOSEN else path.name
    return [
        name,
        *(f"{value:.1f}" for value in path.milliseconds.values()),
        f"{shares[0]:.0%}, {shares[-1]:.0%} of {path.ceiling}",
        f"{path.difference:.2f}",
        path.precision,
        f"{path.seconds:.1f}",
    ]


def _comparison(paths: Sequence[Measured]) -> str:
    """Ours ÷ the best peer that keeps the picture, and ÷ the best of all; empty where there is nothing to compare."""
    ours = next((path for path in paths if path.name == CHOSEN), None)
    peers = [path for path in paths if path.peer]
    faithful = [path for path in peers if path.faithful]
    if ours is None or not peers:
        return ""
    rows = []
    for size, own in ours.milliseconds.items():
        row = [str(size), f"{own:.1f}"]
        for candidates in (faithful, peers):
            best = min(candidates, key=lambda path: path.milliseconds[size], default=None)
            row += [
                f"{best.name}: {best.milliseconds[size]:.1f}" if best else "–",
                f"{own / best.milliseconds[size]:.2f}" if best else "–",
            ]
        rows.append(row)
    columns = [
        "batch",
        CHOSEN,
        f"best peer with ΔE_ab ≤ {LARGEST_DIFFERENCE}",
        "÷",
        "best peer, whatever its ΔE_ab",
        "÷",
    ]
    return render_table(columns, rows)


def render_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "\n".join("| " + " | ".join(row) + " |" for row in (columns, ["---"] * len(columns), *rows))
