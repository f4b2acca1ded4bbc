"""The network on a CPU, every way there is: `python -m benchmarks.network`, Markdown on standard output.

Everything runs in one process and takes turns: round after round, every path at every batch size, so that whatever else
the machine does falls on all of them alike. The price is that a path which crashes ends the run.
"""

import argparse
import gc
import json
import os
import sys
import time
import warnings
from dataclasses import asdict
from pathlib import Path

# NNCF and OpenVINO's converter tell a statistics server about every use, except of machines that say they are CI.
os.environ.setdefault("CI", "true")

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import paths, quantized, runtimes
from benchmarks.gemm import ceilings
from benchmarks.machine import describe_machine
from benchmarks.paths import MissingToolError, Runner, example
from benchmarks.sample import Sample, read_sample
from benchmarks.stopwatch import color_difference, milliseconds
from benchmarks.table import Measured, Network, render_ceilings, render_network
from service.network.backbones import BackboneName
from service.network.checkpoint import Checkpoint
from service.network.colorizer import Colorizer

SIZES = (1, 2, 4, 8)

PEERS = (*runtimes.PEERS, *quantized.QUANTIZED_PEERS)
PATHS = (*paths.TORCH_PATHS, *PEERS, *runtimes.OURS, *quantized.QUANTIZED_OURS)


def main() -> None:
    """Measures and prints."""
    options = _options()
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore")
    sample = read_sample(options.photos, options.limit)
    gflops = ceilings()
    header = [
        *describe_machine(),
        sample.description,
        f"medians of {options.rounds} rounds in one process, interleaved",
    ]
    print("\n".join(f"- {line}" for line in header), render_ceilings(gflops), sep="\n\n", flush=True)
    networks = []
    for backbone in options.backbone:
        colorizer = Checkpoint.load(options.store / backbone, backbone).colorizer
        networks.append(_measure(backbone, colorizer, sample, options.rounds, options.paths))
        print("", render_network(networks[-1], gflops), sep="\n", flush=True)
        gc.collect()
    if options.json is not None:
        record = {"about": header, "gflops": gflops, "networks": [asdict(network) for network in networks]}
        options.json.write_text(json.dumps(record, indent=2) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.network", description=__doc__)
    parser.add_argument("--photos", type=Path, help="folder of photographs; without it those of docs/pictures")
    parser.add_argument("--limit", type=int, default=48, help="so many of them calibrate at most, and so many measure")
    parser.add_argument("--backbone", type=BackboneName, action="append", help="may be repeated; all, if left out")
    parser.add_argument("--store", type=Path, default=Path("model_store"))
    parser.add_argument("--paths", nargs="+", choices=[path.name for path in PATHS], help="only these")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    options.backbone = options.backbone or list(BackboneName)
    options.paths = options.paths or [path.name for path in PATHS]
    return options


def _measure(backbone: str, colorizer: Colorizer, sample: Sample, rounds: int, names: list[str]) -> Network:
    with FlopCounterMode(display=False) as counter:
        colorizer.predict(example(1))
    # Before anything is built: exporters are handed this very network, and some change it.
    reference = [colorizer.predict(photograph) for photograph in sample.measured[:, None]]
    runners: dict[str, Runner] = {}
    seconds: dict[str, float] = {}
    failures: dict[str, str] = {}
    for path in PATHS:
        if path.name not in names:
            continue
        _progress(f"{backbone}: building {path.name}")
        started = time.perf_counter()
        try:
            runner = path.build(colorizer, sample.calibration, SIZES)
            # Some do a part of their work at the first call.
            runner.predict(example(1))
        except MissingToolError as error:
            failures[path.name] = str(error)
        except Exception as error:
            # Compilers and converters fail in ways of their own, and one that does must not cost the others' figures.
            failures[path.name] = f"failed: {type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        else:
            runners[path.name] = runner
            seconds[path.name] = time.perf_counter() - started
    _progress(f"{backbone}: colours")
    differences = {name: color_difference(runner, sample.measured, reference) for name, runner in runners.items()}
    _progress(f"{backbone}: times")
    times = milliseconds(runners, sample.measured, SIZES, rounds)
    measured = [
        Measured(
            path.name,
            times[path.name],
            differences[path.name],
            runners[path.name].precision,
            path.ceiling,
            seconds[path.name],
            path in PEERS,
        )
        for path in PATHS
        if path.name in runners
    ]
    return Network(backbone, counter.get_total_flops() / 1e9, measured, failures)


def _progress(line: str) -> None:
    print(f"{time.process_time():6.1f} s of work, {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
