"""The serving benchmark: `python -m benchmarks.serving`, Markdown tables on standard output.

The service and, in the same run, LitServe, BentoML, Ray Serve and a plain FastAPI route, all with the same network and
codec code (`peers/line.py`); JPEG of 512 × 512 in and out. With them comes the bare loop: the same line of work
without any server, which is as much as these cores can do. It, the service and the plain route are measured by turns.

- *Closed loop*: one client for the latency of an idle server, many for its capacity.
- *Open loop*: Poisson arrivals. Every server gets the same rates, shares of the service's measured capacity, because
  clients come at the rate they come at, whatever serves them; a peer that cannot sustain a rate is marked.
- *Mixed load*: small, middling and large photographs, as archives send them; the service beside the plain route.
- *Overload*: arrivals at twice the service's capacity, from clients that wait half a second. Each server is told that
  deadline by whatever setting it has for it.
"""

import argparse
import io
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.peers import report
from benchmarks.peers.figures import (
    CLIENTS,
    COMPARED,
    DEADLINE_S,
    MEMORY_REQUESTS,
    MIX,
    MIX_SHARE,
    OVERLOAD,
    SHARES,
    TURNS,
    Figures,
    ServerFigures,
)
from benchmarks.peers.line import PLAIN_SETTINGS, PlainSettings
from benchmarks.peers.measurement import joined, measure
from benchmarks.peers.server import OURS, PEERS, PLAIN, Server, ServerError, serving

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "pictures" / "flooded-house.jpg"
SIDE, QUALITY = 512, 90


class Benchmark:
    """One run of it all, in a folder for the photographs, logs and the like."""

    def __init__(self, backbone: str, seconds: float, folder: Path) -> None:
        self._seconds = seconds
        self._folder = folder
        self._photograph = folder / "photograph.jpg"
        self._photograph.write_bytes(make_photograph(SIDE))
        self._mix = [folder / f"{megapixels:g}.jpg" for megapixels in MIX]
        for file, megapixels in zip(self._mix, MIX, strict=True):
            file.write_bytes(make_photograph(round(math.sqrt(megapixels * 1e6))))
        self._capacity = 0.0
        self._mixed_rate = 0.0
        self._plain = PLAIN_SETTINGS[0]
        self.figures = Figures(backbone)

    def run(self, peers: list[str], mixed: bool, memory: bool) -> None:
        """Measures the service beside the plain route, then the others: its capacity sets everybody's arrival rates."""
        beside = [name for name in peers if name == PLAIN]
        if beside:
            self._choose_plain()
        self._servers([OURS, *beside], mixed)
        for name in peers:
            if name in beside:
                continue
            try:
                self._servers([name], mixed=False)
            except (ServerError, subprocess.CalledProcessError) as error:
                _say(f"{name}: {error}")
                self.figures.servers.pop(name, None)
                self.figures.failures[name] = str(error).partition("\n")[0]
        if memory:
            self._memory()

    def _bare(self) -> None:
        _say("bare loop")
        command = [sys.executable, "-m", "benchmarks.peers.bare", "--backbone", self.figures.backbone]
        command += ["--photograph", str(self._photograph), "--seconds", str(self._seconds / TURNS)]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=ROOT).stdout
        self.figures.bare.append(json.loads(output))

    def _choose_plain(self) -> None:
        """Gives the plain route the setting that is the fastest here."""
        throughput: dict[PlainSettings, float] = {}
        for self._plain in PLAIN_SETTINGS:
            with self._serving(PLAIN) as server:
                options = ("--clients", str(CLIENTS), "--seconds", str(self._seconds / 2))
                throughput[self._plain] = measure(server, self._photograph, *options).throughput
            _say(f"{PLAIN}, {self._plain}: {throughput[self._plain]:.1f} a second")
        self._plain = max(throughput, key=throughput.__getitem__)
        self.figures.plain = str(self._plain)

    def _servers(self, names: list[str], mixed: bool) -> None:
        """Measures servers by turns, so that what else the machine does befalls all of them, and the bare loop."""
        with ExitStack() as stack:
            servers = {name: stack.enter_context(self._serving(name)) for name in names}
            pressed = {name: stack.enter_context(self._serving(name, deadline_s=DEADLINE_S)) for name in names}
            for turn in range(TURNS):
                if OURS in servers:
                    self._bare()
                for name, server in servers.items():
                    _say(f"{name}: closed loop, {turn + 1} of {TURNS}")
                    self._closed_loop(name, server)
                for share in SHARES:
                    for name, server in servers.items():
                        _say(f"{name}: {share:.0%}")
                        seconds = self._seconds * (2 if share in COMPARED else 1) / TURNS
                        figures = self.figures.servers[name]
                        part = measure(server, self._photograph, *_open_loop(share * self._capacity, seconds))
                        figures.shares[share] = joined(figures.shares.get(share), part)
                if mixed:
                    for name, server in servers.items():
                        self._mixed(name, server)
                for name, server in pressed.items():
                    _say(f"{name}: overload")
                    figures = self.figures.servers[name]
                    load = _open_loop(OVERLOAD * self._capacity, self._seconds / TURNS)
                    figures.overload = joined(figures.overload, measure(server, self._photograph, *load))

    def _closed_loop(self, name: str, server: Server) -> None:
        options = ("--warm-up", "1", "--seconds", str(self._seconds / TURNS))
        single = measure(server, self._photograph, "--clients", "1", *options)
        saturated = measure(server, self._photograph, "--clients", str(CLIENTS), *options)
        if (known := self.figures.servers.get(name)) is None:
            self.figures.servers[name] = ServerFigures(single, saturated)
        else:
            known.single, known.saturated = joined(known.single, single), joined(known.saturated, saturated)
        # Set once: all rates are the same in every turn.
        self._capacity = self._capacity or self.figures.ours.capacity

    def _mixed(self, name: str, server: Server) -> None:
        """The service's capacity for the mix sets the rate for both."""
        _say(f"{name}: mixed load")
        weights = ("--weight", *map(str, MIX.values()))
        if not self._mixed_rate:
            closed = ("--clients", str(CLIENTS), "--seconds", str(self._seconds))
            self._mixed_rate = MIX_SHARE * measure(server, self._mix, *weights, *closed).throughput
        load = _open_loop(self._mixed_rate, 4 * self._seconds / TURNS)
        figures = self.figures.servers[name]
        figures.mixed = joined(figures.mixed, measure(server, self._mix, *weights, *load))

    def _memory(self) -> None:
        _say("memory")
        with self._serving(OURS) as server:
            done = 0
            for requests in MEMORY_REQUESTS:
                options = ("--clients", str(CLIENTS), "--requests", str(requests - done))
                self.figures.rss_bytes.append(measure(server, self._photograph, *options).rss_bytes)
                done = requests
        _say("both backbones")
        for _ in range(2):
            with self._serving(OURS, only=False, asked=False) as server:
                self.figures.start_s, self.figures.idle_rss_bytes = server.start_s, server.processes.rss_bytes()

    def _serving(self, name: str, **options: Any) -> AbstractContextManager[Server]:
        photograph = self._photograph.read_bytes()
        return serving(name, self.figures.backbone, photograph, self._folder, plain=self._plain, **options)


def make_photograph(side: int) -> bytes:
    """A historical picture of the repository's as a square grey JPEG."""
    output = io.BytesIO()
    with Image.open(PICTURE) as picture:
        picture.convert("L").resize((side, side), Image.Resampling.LANCZOS).save(output, "JPEG", quality=QUALITY)
    return output.getvalue()


def _open_loop(rate: float, seconds: float) -> tuple[str, ...]:
    return "--rate", str(rate), "--seconds", str(seconds)


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def main() -> int:
    """Measures, and prints what came out."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--seconds", type=float, default=8, help="of a measurement")
    parser.add_argument("--servers", default=",".join([OURS, *PEERS]), help="which, separated by commas")
    parser.add_argument("--mixed", action="store_true", help="measure the mixed load, too")
    parser.add_argument("--memory", action="store_true", help="measure the service's memory, too")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    arguments = parser.parse_args()
    servers = set(arguments.servers.split(","))
    if unknown := servers - {OURS, *PEERS}:
        parser.error(f"no such servers: {', '.join(sorted(unknown))}; there are {OURS}, {', '.join(PEERS)}")
    # OpenVINO's converter tells a statistics server about every use, except of machines that say they are CI.
    os.environ.setdefault("CI", "true")
    # Whatever ends the benchmark, its servers are ended by the same `finally`.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="autochrome-benchmark-") as folder:
        benchmark = Benchmark(arguments.backbone, arguments.seconds, Path(folder))
        benchmark.run([name for name in PEERS if name in servers], arguments.mixed, arguments.memory)
    print(report.render(benchmark.figures))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(asdict(benchmark.figures)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
