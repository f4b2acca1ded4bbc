"""What lets a run be ended at any moment and gone on with: whole checkpoints, and signals that are heard."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import torch


def write_checkpoint(state: dict[str, Any], file: Path) -> None:
    """Writes what `torch.load` reads; the old file is replaced only by a whole new one."""
    partial_file = file.with_suffix(".partial")
    with partial_file.open("wb") as stream:
        torch.save(state, stream)
        stream.flush()
        os.fsync(stream.fileno())
    partial_file.replace(file)


@contextmanager
def stop_requests() -> Iterator[Event]:
    """Set by SIGTERM and Ctrl-C, which end the run after the step in hand, with a checkpoint."""
    requested = Event()
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda _number, _frame: requested.set()) for number in numbers]
    try:
        yield requested
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
