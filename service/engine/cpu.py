"""The networks on the CPU."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from service.engine.device import as_memory_error, buckets
from service.network.colorizer import Colorizer
from service.network.compiled import CompiledColorizer
from service.network.preprocessing import INPUT_SIZE

logger = logging.getLogger(__name__)


class CpuDevice:
    """A `Device` that computes a batch when it is asked for the results: there is nothing to overlap it with."""

    name: str = "cpu"
    lead_s: float | None = None

    def __init__(
        self,
        colorizers: Mapping[str, Colorizer],
        precision: Literal["auto", "float32", "bfloat16", "float16"],
        threads: int,
    ) -> None:
        self._colorizers = {
            name: CompiledColorizer(colorizer, precision, threads) for name, colorizer in colorizers.items()
        }

    def precision(self, backbone: str) -> str:
        """See `Device`."""
        return self._colorizers[backbone].precision

    def path(self, backbone: str) -> str:
        """See `Device`."""
        return self._colorizers[backbone].path

    def launch(self, backbone: str, canvases: Sequence[Tensor]) -> Callable[[], list[Tensor]]:
        """See `Device`."""
        return partial(self._run, backbone, canvases)

    def _run(self, backbone: str, canvases: Sequence[Tensor]) -> list[Tensor]:
        with as_memory_error():
            # numpy, because torch would start its own team of threads for such trifles, beside OpenVINO's.
            batch = np.zeros((len(canvases), max(map(len, canvases)), *canvases[0].shape[1:]), np.float32)
            for row, canvas in zip(batch, canvases, strict=True):
                row[: len(canvas)] = canvas.numpy()
            lightness, hints = torch.from_numpy(batch[:, :1]), torch.from_numpy(batch[:, 1:])
            ab = self._colorizers[backbone].predict(lightness, hints if hints.shape[1] else None)
        if not np.isfinite(ab.numpy()).all():
            raise FloatingPointError("the network's answer is not finite")
        return list(ab)

    def warm_up(self, max_batch_size: int) -> dict[str, dict[int, float]]:
        """See `Device`."""
        seconds: dict[str, dict[int, float]] = {}
        for backbone, colorizer in self._colorizers.items():
            seconds[backbone] = {size: self._time(backbone, size) for size in buckets(max_batch_size)}
            logger.info(
                "warmed up",
                extra={
                    "backbone": backbone,
                    "path": colorizer.path,
                    "precision": colorizer.precision,
                    "seconds_by_batch": {size: round(value, 4) for size, value in seconds[backbone].items()},
                },
            )
        return seconds

    def _time(self, backbone: str, size: int) -> float:
        batch = [torch.full((1, INPUT_SIZE, INPUT_SIZE), 50.0)] * size
        self._run(backbone, batch)  # the first run of a size prepares kernels for it
        started = time.monotonic()
        self._run(backbone, batch)
        return time.monotonic() - started

    def memory_bytes(self) -> int | None:
        """See `Device`."""
        return None
