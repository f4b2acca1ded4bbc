"""What this machine's matrix units can do at best: the yardstick every path is held against."""

import time
from collections.abc import Callable

import torch
from torch import Tensor

_SIDES = (1024, 2048, 4096)
_SECONDS = 1.0
"""For each size and precision; the best of so many seconds is little disturbed by what else runs."""


def ceilings() -> dict[str, float]:
    """GFLOP/s by precision (float32, bfloat16, int8): the best matrix product of a few sizes, on torch's threads."""
    products: dict[str, tuple[torch.dtype, Callable[[Tensor, Tensor], Tensor]]] = {
        "float32": (torch.float32, torch.mm),
        "bfloat16": (torch.bfloat16, torch.mm),
        "int8": (torch.int8, torch._int_mm),
    }
    return {
        name: max(_gflops(multiply, dtype, side) for side in _SIDES) for name, (dtype, multiply) in products.items()
    }


def _gflops(multiply: Callable[[Tensor, Tensor], Tensor], dtype: torch.dtype, side: int) -> float:
    """Of the fastest of many products of two square matrices."""
    left, right = (torch.randint(-9, 10, (side, side)).to(dtype) for _ in range(2))
    multiply(left, right)
    fastest, end = float("inf"), time.perf_counter() + _SECONDS
    while (started := time.perf_counter()) < end:
        multiply(left, right)
        fastest = min(fastest, time.perf_counter() - started)
    return float(2 * side**3 / 1e9 / fastest)
