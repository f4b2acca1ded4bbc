"""How much one instance can do: `python -m benchmarks.sizing`, Markdown tables on standard output.

Measures a service that runs already, on this machine's loopback: an instance of the size you deploy, behind
`kubectl port-forward` if it is elsewhere. docs/operations.md goes by these tables.

- *Capacity*: eight clients, each of which asks again as soon as it has its answer, for photographs of several sizes and
  for every backbone.
- *Signals*: what an autoscaler sees while a growing share of the capacity arrives, Poisson, as in `benchmarks.serving`,
  in photographs of the smallest and of the largest size.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.request import urlopen

from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.machine import describe_machine
from benchmarks.table import render_table

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "pictures" / "flooded-house.jpg"

SIDES = ((512, 512), (1920, 1280), (4000, 3000))
CLIENTS = 8
SHARES = (0.3, 0.6, 0.8, 0.9, 1.0, 1.2)
_SAMPLE_S = 0.25


class Sizing:
    """One run against the service on a port."""

    def __init__(self, port: int, seconds: float, folder: Path) -> None:
        self._port = port
        self._seconds = seconds
        self._photographs = {f"{width}×{height}": _photograph(folder, width, height) for width, height in SIDES}

    @property
    def sizes(self) -> list[str]:
        """Of the photographs, the smallest first."""
        return list(self._photographs)

    def capacity(self) -> list[list[str]]:
        """A row for every backbone and size: photographs a second, their latency, what else was answered."""
        rows = []
        for backbone in self._backbones():
            for size, photograph in self._photographs.items():
                warm_up = ("--warm-up", str(self._seconds / 4), "--seconds", str(self._seconds))
                answers = self._load(backbone, photograph, "--clients", str(CLIENTS), *warm_up)
                rate, latencies, others = _figures(answers, self._seconds)
                rows.append([backbone, size, f"{rate:.1f}", *_milliseconds(latencies), others])
        return rows

    def signals(self, backbone: str, size: str) -> list[list[str]]:
        """A row for every share of the capacity: what a scrape shows meanwhile, and what clients get."""
        photograph = self._photographs[size]
        closed = self._load(backbone, photograph, "--clients", str(CLIENTS), "--seconds", str(self._seconds))
        capacity, _, _ = _figures(closed, self._seconds)
        rows = []
        for share in SHARES:
            done, waits = threading.Event(), list[float]()

            def sample(done: threading.Event = done, waits: list[float] = waits) -> None:
                while not done.wait(_SAMPLE_S):
                    waits.append(self._metric("autochrome_predicted_wait_seconds"))

            sampler = threading.Thread(target=sample)
            seconds = 2 * self._seconds
            before, started = self._busy(), time.monotonic()
            sampler.start()
            try:
                answers = self._load(backbone, photograph, "--rate", str(share * capacity), "--seconds", str(seconds))
            finally:
                done.set()
                sampler.join()
            # Over all of the time, until the last answer.
            passed = time.monotonic() - started
            device, cores = ((after - begun) / passed for after, begun in zip(self._busy(), before, strict=True))
            rate, latencies, others = _figures(answers, seconds)
            signals = (f"{statistics.mean(waits):.3f}", f"{max(waits):.3f}", f"{device:.2f}", f"{cores:.2f}")
            load = (f"{share:.0%}", f"{share * capacity:.1f}", f"{rate:.1f}")
            rows.append([*load, *signals, *_milliseconds(latencies), others])
        return rows

    def _busy(self) -> tuple[float, float]:
        """Seconds for which the device and the process's cores have worked so far."""
        return self._metric("autochrome_batch_seconds_sum"), self._metric("process_cpu_seconds_total")

    def default_backbone(self) -> str:
        """The one that requests get that name none."""
        return next(str(status["name"]) for status in self._statuses() if status["default"])

    def _backbones(self) -> list[str]:
        return [str(status["name"]) for status in self._statuses() if status["available"]]

    def _statuses(self) -> list[dict[str, object]]:
        statuses: list[dict[str, object]] = json.loads(self._get("/backbones"))["backbones"]
        return statuses

    def _metric(self, name: str) -> float:
        families = text_string_to_metric_families(self._get("/metrics").decode())
        return sum(sample.value for family in families for sample in family.samples if sample.name == name)

    def _get(self, path: str) -> bytes:
        with urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=30) as answer:
            body: bytes = answer.read()
            return body

    def _load(self, backbone: str, photograph: Path, *options: str) -> list[tuple[float, float, int]]:
        """Start, latency and status of every request."""
        command = [sys.executable, "-m", "benchmarks.load", f"--port={self._port}", f"--photograph={photograph}"]
        command += [f"--path=/colorize?backbone={backbone}", *options]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=ROOT).stdout
        answers = json.loads(output)["answers"]
        return list(zip(answers["start"], answers["latency"], answers["status"], strict=True))


def _photograph(folder: Path, width: int, height: int) -> Path:
    file = folder / f"{width}.jpg"
    with Image.open(PICTURE) as picture:
        picture.convert("L").resize((width, height), Image.Resampling.LANCZOS).save(file, quality=90)
    return file


def _figures(answers: Sequence[tuple[float, float, int]], seconds: float) -> tuple[float, list[float], str]:
    """Photographs coloured a second, their latencies in ascending order, and what else was answered."""
    coloured = [(start, latency) for start, latency, status in answers if status == 200]
    if not coloured:
        raise SystemExit(f"nothing was coloured: {sorted({status for _, _, status in answers})}")
    rate = sum(start + latency <= seconds for start, latency in coloured) / seconds
    others = len(answers) - len(coloured)
    return rate, sorted(latency for _, latency in coloured), f"{others / max(1, len(answers)):.0%}"


def _milliseconds(latencies: Sequence[float]) -> list[str]:
    """Median and 99th percentile."""
    return [f"{1000 * latencies[int(quantile * (len(latencies) - 1))]:.0f}" for quantile in (0.5, 0.99)]


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sizing", description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=8000, help="where the service listens")
    parser.add_argument("--seconds", type=float, default=12, help="of each measurement")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sizing = Sizing(arguments.port, arguments.seconds, Path(folder))
        print("\n".join(f"- {line}" for line in describe_machine()))
        columns = ["backbone", "photograph", "a second", "median, ms", "p99, ms", "not coloured"]
        print("\n#### Capacity\n\n" + render_table(columns, sizing.capacity()))
        backbone = sizing.default_backbone()
        columns = ["load", "arrive a second", "coloured a second", "predicted wait, s: mean", "largest"]
        columns += ["device busy", "cores busy", "median, ms", "p99, ms", "not coloured"]
        for size in (sizing.sizes[0], sizing.sizes[-1]):
            print(f"\n#### Signals, {backbone}, {size}\n\n" + render_table(columns, sizing.signals(backbone, size)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
