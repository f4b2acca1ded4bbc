"""Calibrates a model's chroma, so that its pictures are as colourful as photographs, and compares ways to do it."""

from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from torch import nn

from service.network.checkpoint import Checkpoint, CheckpointConfig, save_calibration
from service.network.chroma import Uncalibrated
from training.errors import UnreachableColorError
from training.measure.answers import with_calibration
from training.measure.canvas import Canvas
from training.measure.chroma_map import fit_chroma_map
from training.measure.power_law import PowerLaw
from training.measure.predictions import MAX_GAIN, Predictions
from training.measure.served import ServedEvaluation, evaluate_served
from training.photos.selection import held_back
from training.photos.sets import open_photos

_EXPONENT = 0.5  # decision 6: the largest at which fields and faces do not fade to grey


def calibrate(model: Path, photos: Path, ratio: float, selection: Path | None = None) -> CheckpointConfig:
    """Fits a `ChromaMap` to a model and writes it into its folder; returns config.json, and removes metrics.json.

    `ratio`: colourfulness wanted, as a share of the truth's. `selection`: `SELECTION_FILE` of a run on these
    photographs, of which those it held back are taken; None: all are.

    Raises what `Predictions`, `held_back` and `fit_chroma_map` do, and CheckpointError where there is no such model.
    """
    checkpoint = Checkpoint.load(model)
    predictions = _predictions(checkpoint, photos, selection)
    fitted_on = {"photographs": sum(len(batch.truth) for batch in predictions.batches), "held_back": bool(selection)}
    provenance = {"ratio": ratio, **fitted_on, "date": datetime.now(UTC).date().isoformat()}
    return save_calibration(checkpoint, model, fit_chroma_map(predictions, ratio), provenance)


def compare_calibrations(
    model: Path, validation: Path, photos: Path, ratio: float, selection: Path | None = None
) -> ServedEvaluation:
    """Measures a model with a `ChromaMap`, a power law, a plain gain and none, on whole photographs of `validation`.

    All but the last are fitted as `calibrate` does. The model stays as it is.

    Raises what `calibrate` and `evaluate_served` do.
    """
    checkpoint = Checkpoint.load(model)
    predictions = _predictions(checkpoint, photos, selection)
    calibrations: dict[str, nn.Module] = {"chroma map": fit_chroma_map(predictions, ratio)}
    for name, exponent in (("power law", _EXPONENT), ("plain gain", 0.0)):
        gain = predictions.reach(partial(PowerLaw, exponent=exponent), ratio, MAX_GAIN)
        if gain is None:
            raise UnreachableColorError(f"its answers are almost grey: even a gain of {MAX_GAIN} is not enough")
        calibrations[name] = PowerLaw(gain, exponent)
    calibrations["none"] = Uncalibrated()
    colorizers = {name: with_calibration(checkpoint.colorizer, one) for name, one in calibrations.items()}
    return evaluate_served(colorizers, validation, Canvas.SQUARE)


def _predictions(checkpoint: Checkpoint, photos: Path, selection: Path | None) -> Predictions:
    photo_set = open_photos(photos)
    indices = None if selection is None else held_back(photo_set, selection)
    return Predictions(checkpoint.colorizer, photo_set, indices)
