"""Pictures for people: contact sheets of coloured photographs, and the loss curves of runs."""

import csv
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont, ImageOps
from torch import Tensor

from training.errors import NoRunError
from training.fit.log import LOG_FILE

PHOTOS_A_SHEET = 10
THUMBNAIL = 144  # pixels, of a crop
PHOTO_THUMBNAIL = 208  # pixels, of a whole photograph
SHEET_BYTES = 250_000

_LABEL_HEIGHT = 36
_BEST_QUALITY, _WORST_QUALITY = 85, 25


class ContactSheets:
    """A line a photograph, a column an answer; every ten lines a JPEG of at most 250 KB, `SHEET-01.jpg` and so on."""

    def __init__(self, folder: Path, columns: Sequence[str], side: int = THUMBNAIL) -> None:
        """`folder` is made where it is missing; `columns`: the rows of the evaluation to show, from left to right.

        `side`: of a thumbnail, pixels.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._columns = columns
        self._side = side
        self._lines: dict[str, list[list[Image.Image]]] = defaultdict(list)
        self._written: Counter[str] = Counter()

    def add(self, pictures: Mapping[str, Tensor], sheet: str = "sheet") -> None:
        """One photograph: uint8 sRGB (3, H, W) by row; shows its middle square. Leaves out rows that are no column.

        `sheet`: which sheets it goes to; their files begin with it.
        """
        wholes = (Image.fromarray(pictures[name].permute(1, 2, 0).numpy()) for name in self._columns)
        lines = self._lines[sheet]
        lines.append([ImageOps.fit(whole, (self._side,) * 2, Image.Resampling.LANCZOS) for whole in wholes])
        if len(lines) == PHOTOS_A_SHEET:
            self._write(sheet)

    def finish(self) -> None:
        """Writes the last sheets, which may have fewer lines."""
        for sheet in list(self._lines):
            self._write(sheet)

    def _write(self, sheet: str) -> None:
        self._written[sheet] += 1
        file = self._folder / f"{sheet}-{self._written[sheet]:02}.jpg"
        file.write_bytes(_encode(self._draw(self._lines.pop(sheet))))

    def _draw(self, lines: list[list[Image.Image]]) -> Image.Image:
        size = (self._side * len(self._columns), _LABEL_HEIGHT + self._side * len(lines))
        sheet = Image.new("RGB", size, "white")
        draw = ImageDraw.Draw(sheet)
        font = ImageFont.load_default(size=12)
        for column, name in enumerate(self._columns):
            # Backbone above tag: together they are wider than a thumbnail.
            draw.text((self._side * column + 4, 3), name.replace(" ", "\n", 1), fill="black", font=font)
        for line, thumbnails in enumerate(lines):
            for column, thumbnail in enumerate(thumbnails):
                sheet.paste(thumbnail, (self._side * column, _LABEL_HEIGHT + self._side * line))
        return sheet


def plot_losses(runs: Path, file: Path) -> None:
    """Draws the loss of every run below a folder against the photographs seen, as PNG.

    A run is a folder with a log.csv: columns `photos_seen`, `loss` and `validation_loss`, which may be empty. Training
    losses are thin lines, validation losses thick ones; the axis is logarithmic, as recipes differ in scale.

    Raises:
        NoRunError: There is none, or a log lacks a column or holds something else than numbers.
    """
    logs = sorted(runs.rglob(LOG_FILE))
    if not logs:
        raise NoRunError(f"no run (a folder with {LOG_FILE}) below {runs}")
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for number, log in enumerate(logs):
        name = log.parent.relative_to(runs).as_posix() if log.parent != runs else runs.name
        training, validation = _read_log(log)
        color = mpl.colormaps["tab10"](number % 10)
        axes.plot(*training, color=color, linewidth=0.8, label=None if validation.size else name)
        if validation.size:
            axes.plot(*validation, color=color, linewidth=2, marker=".", label=name)
    axes.set(xlabel="photographs seen", ylabel="loss: training thin, validation thick", yscale="log")
    axes.grid(which="both", alpha=0.3)
    axes.legend()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=100)


def _read_log(log: Path) -> tuple[np.ndarray, np.ndarray]:
    """(photographs seen, loss) of training and of validation, each (2, entries)."""
    try:
        with log.open(newline="") as stream:
            entries = list(csv.DictReader(stream))
        training = [(float(entry["photos_seen"]), float(entry["loss"])) for entry in entries]
        validation = [
            (float(entry["photos_seen"]), float(entry["validation_loss"]))
            for entry in entries
            if entry["validation_loss"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise NoRunError(f"{log} is not the log of a run: {error!r}") from error
    return np.array(training).T, np.array(validation).T


def _encode(sheet: Image.Image) -> bytes:
    """JPEG, in the best quality that is small enough."""
    for quality in range(_BEST_QUALITY, _WORST_QUALITY - 1, -10):
        buffer = BytesIO()
        sheet.save(buffer, "JPEG", quality=quality, optimize=True)
        if buffer.tell() <= SHEET_BYTES:
            break
    return buffer.getvalue()
