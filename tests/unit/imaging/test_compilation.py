"""Loops over pixels are compiled once, whoever needs them first."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numba import int64, void
from numpy.typing import NDArray

from service.imaging.compilation import compile_all, compiled


@compiled(void(int64[::1]))
def double(numbers: NDArray[np.int64]) -> None:
    for i in range(len(numbers)):
        numbers[i] *= 2


@compiled(void(int64[::1]))
def negate(numbers: NDArray[np.int64]) -> None:
    for i in range(len(numbers)):
        numbers[i] = -numbers[i]


def test_the_first_call_compiles_and_others_wait_for_it() -> None:
    barrier = threading.Barrier(4)

    def call() -> list[int]:
        numbers = np.arange(3)
        barrier.wait(20)
        double(numbers)
        return list(numbers)

    with ThreadPoolExecutor(4) as pool:
        assert [job.result(60) for job in [pool.submit(call) for _ in range(4)]] == [[0, 2, 4]] * 4
    assert double.compile() is double.compile()


def test_all_can_be_compiled_before() -> None:
    compile_all()
    numbers = np.arange(3)
    negate(numbers)
    assert list(numbers) == [0, -1, -2]
