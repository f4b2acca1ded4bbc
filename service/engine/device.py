"""What the networks run on: the one interface of the CPU and the GPU."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor


class Launcher(Protocol):
    """One way to run batches; unless it says otherwise, for one thread at a time."""

    def launch(self, backbone: str, canvases: Sequence[Tensor]) -> Callable[[], list[Tensor]]:
        """Starts a batch: what is known of each picture; to be called for the results, which it waits for.

        A canvas is L* (1, 224, 224), float32, or with hints (4, 224, 224): L*, and the hints of `Colorizer.predict`.
        The results are a*, b* (2, 224, 224) in (-128, 128), float32 on the CPU, in order.

        Raises, now or when called:
            ValueError: There are hints, and the network takes none.
            MemoryError: The batch does not fit into the device's memory.
            FloatingPointError: The network gave something that is not a number.
        """


class Device(Protocol):
    """Owns the networks."""

    name: str
    """"cpu" or "cuda"."""

    def precision(self, backbone: str) -> str:
        """What its network computes in, for example "bfloat16"."""

    def path(self, backbone: str) -> str:
        """How its network is run, in words; told to operators."""

    def memory_bytes(self) -> int | None:
        """Bytes held on the GPU; None on a CPU."""


def buckets(max_batch_size: int) -> list[int]:
    """Sizes of batches that are prepared for: 1, 2, 4, … and the largest itself."""
    return [size for size in (2**power for power in range(9)) if size < max_batch_size] + [max_batch_size]


_OUT_OF_MEMORY = (
    # The CPU's allocators: torch's two messages, and C++'s own exception as OpenVINO passes it on.
    "not enough memory",
    "can't allocate memory",
    "std::bad_alloc",
    # CUDA's, which torch passes on where another library, or a graph, asked for the memory.
    "CUDA error: out of memory",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
)


@contextlib.contextmanager
def as_memory_error() -> Iterator[None]:
    """torch's and OpenVINO's ways of saying that memory ran out → Python's own."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise MemoryError(str(error)) from error
    except RuntimeError as error:
        if any(sign in str(error) for sign in _OUT_OF_MEMORY):
            raise MemoryError(str(error)) from error
        raise
