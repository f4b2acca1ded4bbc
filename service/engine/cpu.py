"""The networks on the CPU, where the device is the lanes' cores."""

import logging
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from service.engine.costs import BatchCosts
from service.engine.device import as_memory_error, buckets
from service.network.colorizer import Colorizer
from service.network.compiled import CompiledColorizer
from service.network.preprocessing import INPUT_SIZE

logger = logging.getLogger(__name__)

_WORTHWHILE = 0.95
"""Of a smaller batch's seconds a photograph: a larger one that costs more than this share is not worth its memory, and
the wait for it."""

_FEWER = 4
"""Where a machine has many cores, a photograph alone is tried on a fourth of them as well, and on a fourth of those."""

_ROUNDS = 4
"""So often is a batch timed, by each lane."""


@dataclass(frozen=True, slots=True)
class CoreLauncher:
    """Runs batches on so many cores each, for as many threads as it is prepared for."""

    colorizers: Mapping[str, CompiledColorizer]
    cores: Mapping[str, int]
    """By backbone."""

    def launch(self, backbone: str, canvases: Sequence[Tensor]) -> Callable[[], list[Tensor]]:
        """See `Launcher`; computes when it is asked for the results: there is nothing to overlap it with."""
        return partial(self._run, backbone, canvases)

    def _run(self, backbone: str, canvases: Sequence[Tensor]) -> list[Tensor]:
        with as_memory_error():
            # numpy, because torch would start a team of threads of its own for such trifles.
            batch = np.zeros((len(canvases), max(map(len, canvases)), *canvases[0].shape[1:]), np.float32)
            for row, canvas in zip(batch, canvases, strict=True):
                row[: len(canvas)] = canvas.numpy()
            lightness, hints = torch.from_numpy(batch[:, :1]), torch.from_numpy(batch[:, 1:])
            colorizer = self.colorizers[backbone]
            ab = colorizer.predict(lightness, hints if hints.shape[1] else None, self.cores[backbone])
        if not np.isfinite(ab.numpy()).all():
            raise FloatingPointError("the network's answer is not finite")
        return list(ab)


class CpuDevice:
    """The networks on one core for each lane, and on several for a photograph that is alone."""

    name = "cpu"

    def __init__(
        self,
        colorizers: Mapping[str, Colorizer],
        precision: Literal["auto", "float32", "bfloat16", "float16"],
        lanes: int,
    ) -> None:
        self._lanes = lanes
        self._colorizers = {
            name: CompiledColorizer(colorizer, precision, lanes) for name, colorizer in colorizers.items()
        }
        self._cores_alone = dict.fromkeys(colorizers, lanes)
        self.on_one_core = CoreLauncher(self._colorizers, dict.fromkeys(colorizers, 1))
        """For each lane."""
        self.on_many_cores = CoreLauncher(self._colorizers, self._cores_alone)
        """For one photograph, while the other lanes have nothing to do."""

    def precision(self, backbone: str) -> str:
        """See `Device`."""
        return self._colorizers[backbone].precision

    def path(self, backbone: str) -> str:
        """See `Device`."""
        return self._colorizers[backbone].path

    def cores_alone(self, backbone: str) -> int:
        """How many cores a photograph gets that is alone."""
        return self._cores_alone[backbone]

    def memory_bytes(self) -> int | None:
        """See `Device`."""
        return None

    def warm_up(self, max_batch_size: int) -> tuple[BatchCosts, BatchCosts]:
        """Measures what may pay, and forgets what does not: the costs on one core, by size, and on many.

        On one core batches are timed while all lanes run one, as they share caches and memory.
        """
        one, many = ({name: dict[int, float]() for name in self._colorizers} for _ in range(2))
        for name, colorizer in self._colorizers.items():
            one[name] = self._try_sizes(name, max_batch_size)
            many[name] = {1: self._try_cores(name)}
            seconds = {size: round(value, 4) for size, value in one[name].items()}
            alone = {self._cores_alone[name]: round(many[name][1], 4)}
            how = {"path": colorizer.path, "precision": colorizer.precision}
            logger.info(
                "warmed up",
                extra={"backbone": name, **how, "seconds_by_batch": seconds, "seconds_alone_by_cores": alone},
            )
            colorizer.seal()
        return BatchCosts(one), BatchCosts(many)

    def _try_sizes(self, name: str, max_batch_size: int) -> dict[int, float]:
        """Larger and larger batches, until one does not pay; the seconds of those that do."""
        colorizer = self._colorizers[name]
        best, *larger = buckets(max_batch_size)
        if self._lanes > 1:  # else it is prepared for that one core already
            colorizer.prepare(best, 1, self._lanes)
        seconds = {best: statistics.median(self._time(self.on_one_core, name, [best], self._lanes)[best])}
        for size in larger:
            colorizer.prepare(size, 1, self._lanes)
            # By turns, and by the shortest times: what else the machine does lengthens some of them.
            times = self._time(self.on_one_core, name, [best, size], self._lanes)
            if min(times[size]) / size > _WORTHWHILE * min(times[best]) / best:
                colorizer.forget(size, 1)
                break
            seconds[size] = statistics.median(times[size])
            best = size
        return seconds

    def _try_cores(self, name: str) -> float:
        """All cores, and where there are many, fewer: the shortest time for one photograph."""
        colorizer = self._colorizers[name]
        seconds: dict[int, float] = {}
        cores = self._lanes
        while cores > 1 or not seconds:
            if (1, cores) not in colorizer.prepared:
                colorizer.prepare(1, cores)
            self._cores_alone[name] = cores
            seconds[cores] = statistics.median(self._time(self.on_many_cores, name, [1], 1)[1])
            cores //= _FEWER
        best = min(seconds, key=seconds.__getitem__)
        for cores in set(seconds) - {best, 1}:
            colorizer.forget(1, cores)
        self._cores_alone[name] = best
        return seconds[best]

    def _time(self, launcher: CoreLauncher, name: str, sizes: Sequence[int], at_once: int) -> dict[int, list[float]]:
        """The seconds of batches of each size, by turns, with so many of one size at the same time."""
        seconds: dict[int, list[float]] = {size: [] for size in sizes}

        def run(size: int) -> float:
            batch = [torch.full((1, INPUT_SIZE, INPUT_SIZE), 50.0)] * size
            started = time.monotonic()
            launcher.launch(name, batch)()
            return time.monotonic() - started

        with ThreadPoolExecutor(at_once) as threads:
            for round in range(1 + _ROUNDS):
                for size in sizes:
                    times = list(threads.map(run, [size] * at_once))
                    if round:  # the first run prepares kernels
                        seconds[size] += times
        return seconds
