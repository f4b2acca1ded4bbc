"""Time and colours of paths that are ready to run."""

import time
from collections.abc import Mapping, Sequence
from statistics import median

import torch
from torch import Tensor

from benchmarks.paths import Runner

_SETTLE_S = 0.03
"""Pools of threads go on spinning for a while after their last work, and would disturb the next path's."""

Times = dict[int, float]
"""Milliseconds an image by batch size."""


def milliseconds(
    runners: Mapping[str, Runner], photographs: Tensor, sizes: Sequence[int], rounds: int
) -> dict[str, Times]:
    """The median over rounds, in each of which every path has its turn at every size: noise falls on all alike."""
    batches = {size: photographs[torch.arange(size) % len(photographs)] for size in sizes}
    turns: dict[str, dict[int, list[float]]] = {name: {size: [] for size in sizes} for name in runners}
    for _ in range(rounds):
        for size, batch in batches.items():
            for name, runner in runners.items():
                turns[name][size].append(_turn(runner, batch) * 1000 / size)
    return {name: {size: median(values) for size, values in by_size.items()} for name, by_size in turns.items()}


def _turn(runner: Runner, batch: Tensor, seconds: float = 0.2) -> float:
    """The median call of a turn, after one that wakes the threads and fills the caches."""
    time.sleep(_SETTLE_S)
    runner.predict(batch)
    calls: list[float] = []
    end = time.perf_counter() + seconds
    while not calls or time.perf_counter() < end:
        started = time.perf_counter()
        runner.predict(batch)
        calls.append(time.perf_counter() - started)
    return median(calls)


def color_difference(runner: Runner, photographs: Tensor, reference: Sequence[Tensor]) -> float:
    """Mean ΔE_ab over all pixels of all photographs, each asked for by itself."""
    answers = (runner.predict(photograph) for photograph in photographs[:, None])
    differences = [
        torch.linalg.vector_norm(answer - expected, dim=1).mean().item()
        for answer, expected in zip(answers, reference, strict=True)
    ]
    return float(sum(differences) / len(differences))
