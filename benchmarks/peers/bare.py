"""The line in a bare loop, without any server: what serving is measured against. Figures as JSON on standard output.

The loop runs in one thread, which computes the network on all cores, and in one thread for each core, which computes it
there; the better of them is as much as these cores can do, and so the denominator of what the service reaches.
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
from service.cores import count_cores


def _colorize(network: Network, data: bytes) -> bytes:
    job, lightness = read(data)
    return write(job, network.predict([lightness])[0])


def _loop(network: Network, data: bytes, seconds: float, latencies: list[float]) -> None:
    torch.set_num_threads(1)
    end = time.monotonic() + seconds
    while (begin := time.monotonic()) < end:
        _colorize(network, data)
        latencies.append(time.monotonic() - begin)


def measure(network: Network, loops: int, data: bytes, seconds: float) -> list[float]:
    """Seconds of each call, from so many loops that run at the same time."""
    latencies: list[float] = []
    threads = [threading.Thread(target=_loop, args=(network, data, seconds, latencies)) for _ in range(loops)]
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
    cores = count_cores()
    networks = {1: Network(arguments.backbone, 1), cores: Network(arguments.backbone, 1, cores=1, at_once=cores)}
    figures: dict[str, object] = {}
    for loops, network in networks.items():
        measure(network, loops, data, arguments.seconds / 4)
        latencies = measure(network, loops, data, arguments.seconds)
        figures[str(loops)] = {
            "p50_s": statistics.median(latencies),
            "throughput": len(latencies) / arguments.seconds,
        }
    json.dump(figures, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
