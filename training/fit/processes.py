"""The processes of one run: this one alone, or several that `torchrun` starts, each with its part of every batch."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Sampler

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """How many there are, which of them this is, and what is common to them.

    What they have to agree on is asked for by all of them, in the same order.
    """

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes files and shows progress."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model with gradients averaged over the processes.

        Weights and buffers are taken from the first process; batch norm's statistics are those of each process's own
        part of the batch, and the running ones the first's.
        """
        return model if self.count == 1 else DistributedDataParallel(model)

    def part_of(self, batches: DataLoader[T]) -> DataLoader[T]:
        """This process's part of every batch of a loader; the processes' parts together are its batches."""
        if self.count == 1:
            return batches
        if batches.batch_size is None:
            raise ValueError("a loader of whole batches cannot be divided")
        return DataLoader(
            batches.dataset,
            batch_sampler=_Parts(batches.sampler, batches.batch_size // self.count, self),
            num_workers=batches.num_workers,
            prefetch_factor=batches.prefetch_factor,
        )

    def any(self, flag: bool) -> bool:
        """Whether any of them raises the flag."""
        return self.mean(float(flag)) > 0

    def mean(self, value: float) -> float:
        """The mean of their values."""
        if self.count == 1:
            return value
        total = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(total)
        return total.item() / self.count

    def from_first(self, compute: Callable[[], T]) -> T:
        """What the first of them computes; it is computed only there. Where that fails, torchrun ends the others."""
        if self.count == 1:
            return compute()
        answer = [compute() if self.first else None]
        dist.broadcast_object_list(answer)
        return answer[0]  # type: ignore[return-value]


ALONE = Processes()


class _Parts(Sampler[list[Any]]):
    """Every `processes.count`-th run of `size` draws of an endless sampler, from the process's own on."""

    def __init__(self, draws: Iterable[Any], size: int, processes: Processes) -> None:
        self.draws = draws
        self.size = size
        self.processes = processes

    def __iter__(self) -> Iterator[list[Any]]:
        draws = iter(self.draws)
        while True:
            parts = [list(islice(draws, self.size)) for _ in range(self.processes.count)]
            yield parts[self.processes.rank]


@contextmanager
def joined() -> Iterator[Processes]:
    """The processes `torchrun` started; without it, this one alone. On GPUs every process takes its own."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield ALONE
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        # What is agreed on are numbers of the processor's, whatever the network runs on.
        dist.init_process_group("cpu:gloo,cuda:nccl")
    else:
        dist.init_process_group("gloo")
    try:
        yield Processes(dist.get_rank(), count)
    finally:
        dist.destroy_process_group()
