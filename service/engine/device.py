"""The networks on their device: a list of pictures' lightness in, a list of their chroma out."""

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from service.network.colorizer import Colorizer
from service.network.preprocessing import INPUT_SIZE

logger = logging.getLogger(__name__)


class Device:
    """Owns the colorizers on a GPU or CPU; used by one thread at a time."""

    def __init__(
        self,
        colorizers: Mapping[str, Colorizer],
        device: Literal["auto", "cuda", "cpu"],
        precision: Literal["auto", "float32", "bfloat16"],
    ) -> None:
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if precision == "auto":
            precision = "bfloat16" if device == "cuda" else "float32"
        self.name: str = device
        self.precision: str = precision
        self._threads = torch.get_num_threads()
        self._colorizers = {
            key: colorizer.eval().to(memory_format=torch.channels_last).to(device)
            for key, colorizer in colorizers.items()
        }

    def run_batch(self, backbone: str, lightness: Sequence[Tensor]) -> list[Tensor]:
        """L* (1, 224, 224) of each picture → its a*, b* (2, 224, 224) in (-128, 128), on the CPU, in order.

        Raises:
            MemoryError: The batch does not fit into the device's memory.
            FloatingPointError: The network gave something that is not a number.
        """
        # torch counts its threads by the calling thread, and new ones inherit what the codec's were told.
        torch.set_num_threads(self._threads)
        with _as_memory_error(), torch.autocast(self.name, torch.bfloat16, enabled=self.precision == "bfloat16"):
            batch = torch.stack(list(lightness)).to(self.name, memory_format=torch.channels_last)
            ab = self._colorizers[backbone].predict(batch).cpu()
        if not torch.isfinite(ab).all():
            raise FloatingPointError("the network's answer is not finite")
        return list(ab)

    def warm_up(self, max_batch_size: int) -> dict[str, float]:
        """Runs every network at every power of two up to the largest batch, so that no client pays for it.

        Returns the seconds that the largest batch took, by backbone.
        """
        seconds: dict[str, float] = {}
        for backbone in self._colorizers:
            for size in _buckets(max_batch_size):
                batch = [torch.full((1, INPUT_SIZE, INPUT_SIZE), 50.0)] * size
                self.run_batch(backbone, batch)
            started = time.monotonic()
            self.run_batch(backbone, batch)
            seconds[backbone] = time.monotonic() - started
            logger.info("warmed up", extra={"backbone": backbone, "seconds_per_batch": round(seconds[backbone], 4)})
        return seconds

    def memory_bytes(self) -> int | None:
        """Bytes held on the GPU; None on a CPU."""
        return torch.cuda.memory_reserved() if self.name == "cuda" else None


def _buckets(max_batch_size: int) -> list[int]:
    """1, 2, 4, … and the largest itself."""
    return [size for size in (2**power for power in range(9)) if size < max_batch_size] + [max_batch_size]


@contextlib.contextmanager
def _as_memory_error() -> Iterator[None]:
    """torch's ways of saying that memory ran out → Python's own."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise MemoryError(str(error)) from error
    except RuntimeError as error:
        if "not enough memory" in str(error) or "can't allocate memory" in str(error):  # the CPU's allocator
            raise MemoryError(str(error)) from error
        raise
