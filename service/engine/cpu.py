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

_ROUNDS = 3
"""So often is a batch timed, by each lane, beside the first time."""


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
            answers = colorizer.predict_with_error(lightness, hints if hints.shape[1] else None, self.cores[backbone])
        if not np.isfinite(answers.numpy()).all():
            raise FloatingPointError("the network's answer is not finite")
        return list(answers)


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
        best, *larger = buckets(max_batch_size)
        times = {best: self._prepare(self.on_one_core, name, best, 1, self._lanes)}
        for size in larger:
            times[size] = self._prepare(self.on_one_core, name, size, 1, self._lanes)
            # By turns, and by the shortest: what else the machine does lengthens some.
            for _ in range(_ROUNDS - 1):
                for n in (best, size):
                    times[n] += self._time(self.on_one_core, name, n, self._lanes)
            if min(times[size]) / size > _WORTHWHILE * min(times[best]) / best:
                self._colorizers[name].forget(size, 1)
                del times[size]
                break
            best = size
        return {size: statistics.median(seconds) for size, seconds in times.items()}

    def _try_cores(self, name: str) -> float:
        """All cores, and where there are many, fewer: the shortest time for one photograph."""
        seconds: dict[int, float] = {}
        cores = self._lanes
        while cores > 1 or not seconds:
            self._cores_alone[name] = cores
            times = self._prepare(self.on_many_cores, name, 1, cores, 1)
            for _ in range(_ROUNDS - 1):
                times += self._time(self.on_many_cores, name, 1, 1)
            seconds[cores] = statistics.median(times)
            cores //= _FEWER
        best = min(seconds, key=seconds.__getitem__)
        for cores in set(seconds) - {best, 1}:
            self._colorizers[name].forget(1, cores)
        self._cores_alone[name] = best
        return seconds[best]

    def _prepare(self, launcher: CoreLauncher, name: str, size: int, cores: int, at_once: int) -> list[float]:
        """Prepares batches of a size, where they are not yet, and runs them, twice; the second times: see `_time`."""
        colorizer = self._colorizers[name]
        if (size, cores) not in colorizer.prepared:
            colorizer.prepare(size, cores, at_once)
        self._time(launcher, name, size, at_once)  # takes longer
        return self._time(launcher, name, size, at_once)

    def _time(self, launcher: CoreLauncher, name: str, size: int, at_once: int) -> list[float]:
        """The seconds of batches of a size, so many at the same time."""
        batch = [torch.full((1, INPUT_SIZE, INPUT_SIZE), 50.0)] * size

        def run(_: int) -> float:
            started = time.monotonic()
            launcher.launch(name, batch)()
            return time.monotonic() - started

        with ThreadPoolExecutor(at_once) as threads:
            return list(threads.map(run, range(at_once)))
