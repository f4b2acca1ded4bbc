"""How a run went: a table for spreadsheets, and the same for TensorBoard."""

import csv
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Self

from torch.utils.tensorboard import SummaryWriter

LOG_FILE = "log.csv"


@dataclass(frozen=True)
class Entry:
    """What is known at one moment of a run."""

    minutes: float
    photos_seen: int
    loss: float
    """Of the recipe, the mean over the steps since the last entry."""
    validation_loss: float | None
    """`Run.validation_loss`; None: not measured at this moment."""
    learning_rate: float
    """Of all but the trunk."""


COLUMNS = [field.name for field in fields(Entry)]


class Log:
    """log.csv and TensorBoard's event files in a run's folder, appended to."""

    def __init__(self, folder: Path, photos_seen: int) -> None:
        """`photos_seen`: of the checkpoint the run goes on from. What a killed run logged after it is dropped."""
        self.file = folder / LOG_FILE
        self._truncate(photos_seen)
        self.events = SummaryWriter(folder, purge_step=photos_seen + 1)

    def _truncate(self, photos_seen: int) -> None:
        rows = []
        if self.file.exists():
            with self.file.open(newline="") as stream:
                # A kill can cut the last line short; a whole one ends in a line break.
                whole = [line for line in stream if line.endswith("\n")]
            rows = [row for row in csv.DictReader(whole) if int(row["photos_seen"]) <= photos_seen]
        partial_file = self.file.with_suffix(".partial")
        with partial_file.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
        partial_file.replace(self.file)

    def add(self, entry: Entry) -> None:
        """Appends a row; to be called before the checkpoint of the same moment is written, so that it has its row."""
        with self.file.open("a", newline="") as stream:
            csv.DictWriter(stream, COLUMNS).writerow(asdict(entry))
        for name, value in asdict(entry).items():
            if name != "photos_seen" and value is not None:
                self.events.add_scalar(name, value, entry.photos_seen)
        self.events.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.events.close()
