"""Measures colorizers on a folder of photographs, beside the answers that need no network."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset
from tqdm import tqdm

from service.network.checkpoint import METRICS_FILE
from service.network.colorizer import Colorizer
from service.network.preprocessing import AB_SCALE
from training.errors import NoPhotosError
from training.measure.answers import BLEND, GREY, UNCALIBRATED, Answers, StoredModel, deliver
from training.measure.frechet import FeatureExtractor
from training.measure.hint_curve import HintScores, measure_hints
from training.measure.pictures import ContactSheets
from training.measure.reliability import Reliability, measure_reliability
from training.measure.scores import TRUTH, ColorFrequencies, Scoreboard, Scores
from training.measure.tables import REFERENCES
from training.photos.crops import CenterCrops, split_lab
from training.photos.sets import open_photos

BATCH_SIZE = 16

MIN_COLOR = 1e-3
"""A set whose every |ab/128| is smaller is grey but for float rounding: there is nothing to measure."""

SHEET_PHOTOS = 60
"""Photographs on the contact sheets, spread evenly over the set."""

SERVED = "served"
"""Key of the figures of whole photographs in metrics.json."""

HINT_PHOTOS = 600
"""Of more, these are hinted at, spread evenly: every one is coloured five times."""


@dataclass(frozen=True)
class Evaluation:
    """What was measured, and on how many photographs."""

    photos: int
    scores: Scores
    reliability: dict[str, Reliability]
    """Of the networks that say how sure they are, by row."""
    hints: dict[str, HintScores]
    """Of the networks that take hints, by row."""


def evaluate(
    colorizers: Mapping[str, Colorizer],
    photos: Path,
    extractor: FeatureExtractor | None = None,
    pictures: Path | None = None,
) -> Evaluation:
    """Scores of the rows of `Answers`, over the 224×224 centre crops of all photographs below a folder.

    `colorizers`: by the name of their row, in evaluation mode, on the CPU.

    Two more rows: `always_b`, which always answers b > a and is there for the accuracy alone, and `truth`, whose
    colourfulness the others' is compared with. The photographs are read twice, first for their mean colour, which
    makes `constant_mean` the best any constant can do, and for how often each colour occurs.

    `extractor`: for the Fréchet distance; None: there is none. `pictures`: folder for contact sheets.

    Raises:
        NoPhotosError: The folder holds no photographs, or none with any colour.
        UnreadablePhotoError: One of them cannot be read.
    """
    photo_set = open_photos(photos)
    crops = CenterCrops(photo_set, list(range(len(photo_set))))
    constant, frequencies = _colors(crops, photos)
    answers = Answers(colorizers, constant)
    scoreboard = Scoreboard(len(crops), frequencies.weights(), extractor)
    sheets = ContactSheets(pictures, [GREY, *answers.served, TRUTH]) if pictures is not None else None
    shown = set(_spread(len(crops), SHEET_PHOTOS))
    first = 0
    for truth in _batches(crops, "measuring"):
        lightness, _ = split_lab(truth)
        scoreboard.add_truth(truth)
        delivered = {TRUTH: truth}
        for row, ab in answers.predict(lightness).items():
            delivered[row] = deliver(lightness, ab)
            scoreboard.add(row, ab, delivered[row], truth)
        if sheets is not None:
            for index in sorted(shown.intersection(range(first, first + len(truth)))):
                sheets.add({row: batch[index - first] for row, batch in delivered.items()})
        first += len(truth)
    if sheets is not None:
        sheets.finish()
    reliability = {
        row: measure_reliability(colorizer, _batches(crops, "measuring confidence"))
        for row, colorizer in colorizers.items()
        if colorizer.decoder.confidence is not None
    }
    hinted = Subset(crops, _spread(len(crops), HINT_PHOTOS))
    hints = {
        row: measure_hints(colorizer, _batches(hinted, "giving hints"))
        for row, colorizer in colorizers.items()
        if colorizer.config.hints
    }
    return Evaluation(len(crops), scoreboard.scores(), reliability, hints)


def save_metrics(model: StoredModel, evaluation: Evaluation) -> None:
    """Writes the model's metrics.json: its own rows and those that are no other model's, with date and digest.

    `blend_of` names the two models of the row `blend`, where there is one. What `evaluate_served` has measured of the
    same weights stays.
    """
    scores = evaluation.scores
    others = [row for row in scores if row not in REFERENCES and not row.startswith(model.name)]
    measured: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "digest": model.checkpoint.config.digest,
        "photos": evaluation.photos,
        "scores": {row: figures for row, figures in scores.items() if row not in others},
    }
    if SERVED in model.checkpoint.metrics:
        measured[SERVED] = model.checkpoint.metrics[SERVED]
    if BLEND in scores:
        measured["blend_of"] = [row for row in scores if row not in REFERENCES and UNCALIBRATED not in row]
    if model.name in evaluation.reliability:
        measured["reliability"] = asdict(evaluation.reliability[model.name])
    if model.name in evaluation.hints:
        measured["hints"] = evaluation.hints[model.name]
    (model.folder / METRICS_FILE).write_text(json.dumps(measured, indent=2) + "\n")


def _colors(crops: CenterCrops, photos: Path) -> tuple[Tensor, ColorFrequencies]:
    """Mean a*, b* over all pixels, (1, 2, 1, 1), and how often each colour occurs."""
    total = torch.zeros(1, 2, 1, 1, dtype=torch.float64)
    largest = 0.0
    frequencies = ColorFrequencies()
    for rgb in _batches(crops, "counting colours"):
        _, target = split_lab(rgb)
        ab = target * AB_SCALE
        total += ab.double().mean(dim=(2, 3), keepdim=True).sum(dim=0, keepdim=True)
        largest = max(largest, target.abs().max().item())
        frequencies.add(ab)
    if largest < MIN_COLOR:
        raise NoPhotosError(f"no photograph below {photos} has any colour to compare with")
    return (total / len(crops)).float(), frequencies


def _spread(count: int, wanted: int) -> list[int]:
    """Indices of at most so many of `count` photographs, spread evenly."""
    indices: list[int] = torch.linspace(0, count - 1, min(wanted, count)).round().int().tolist()
    return indices


def _batches(crops: Dataset[Tensor], doing: str) -> Iterator[Tensor]:
    return iter(tqdm(DataLoader(crops, batch_size=BATCH_SIZE, num_workers=0), desc=doing, unit="batch"))
