"""The line in a bare loop, without any server: what serving is measured against. Figures as JSON on standard output.

The loop runs in one thread and in two, each with a network of its own; the better of them is as much as these cores can
do, and so the denominator of what the service reaches.
"""

import argparse
import json
import statistics
import sys
import threading
import time
from pathlib import Path

import torch

from benchmarks.peers.line import Network, read, write

LOOPS = (1, 2)
"""Threads that are tried."""


def _colorize(network: Network, data: bytes) -> bytes:
    photograph, lightness = read(data)
    return write(photograph, network.predict([lightness])[0])


def _loop(network: Network, data: bytes, seconds: float, latencies: list[float]) -> None:
    torch.set_num_threads(1)
    end = time.monotonic() + seconds
    while (begin := time.monotonic()) < end:
        _colorize(network, data)
        latencies.append(time.monotonic() - begin)


def measure(networks: list[Network], data: bytes, seconds: float) -> list[float]:
    """Seconds of each call, from loops that run at the same time, a thread for each network."""
    latencies: list[float] = []
    threads = [threading.Thread(target=_loop, args=(network, data, seconds, latencies)) for network in networks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return latencies


def main() -> int:
    """Measures every number of loops."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.bare", description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--photograph", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    arguments = parser.parse_args()
    data = arguments.photograph.read_bytes()
    networks = [Network(arguments.backbone, 1) for _ in range(max(LOOPS))]
    figures: dict[str, object] = {}
    for loops in LOOPS:
        measure(networks[:loops], data, arguments.seconds / 4)
        latencies = measure(networks[:loops], data, arguments.seconds)
        figures[str(loops)] = {
            "p50_s": statistics.median(latencies),
            "throughput": len(latencies) / arguments.seconds,
        }
    json.dump(figures, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
