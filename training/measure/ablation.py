"""Recipes against one another, at equal budget, from the same weights, on the same crops."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from service.network.checkpoint import Checkpoint
from service.network.colorizer import Colorizer
from training.calibrate import fit_saturation
from training.errors import UnreachableColorError
from training.evaluate import Evaluation, evaluate
from training.fit import fit
from training.frechet import FeatureExtractor
from training.recipe import Recipe

logger = logging.getLogger(__name__)


def ablate(
    recipes: Sequence[str],
    initial: Path,
    photos: Path,
    validation: Path,
    photographs: int,
    out: Path,
    extractor: FeatureExtractor | None = None,
) -> Evaluation:
    """Trains the model in `initial` on with each recipe, for so many photographs, and measures them all.

    Losses that dare more colour and losses that dare less are only comparable at one colourfulness, so each gets the
    saturation that makes it as colourful as the truth, if there is one; the rows without saturation say what the loss
    alone does. The first row, `start`, is the model they all start from. Every run is a folder of `out`; unfinished
    ones are resumed.

    Raises what `fit` and `evaluate` do.
    """
    start = Checkpoint.load(initial)
    colorizers = {"start": start.colorizer}
    for name in recipes:
        recipe, row = Recipe.load(name, photographs), Path(name).stem
        colorizers[row] = fit(start.config.network.backbone, photos, recipe, out / row, initial=initial).averaged()
    for row, colorizer in colorizers.items():
        _calibrate(row, colorizer.eval(), validation)
    return evaluate(colorizers, validation, extractor)


def _calibrate(row: str, colorizer: Colorizer, validation: Path) -> None:
    try:
        gain, exponent = fit_saturation(colorizer, validation, 1.0)
    except UnreachableColorError as error:
        logger.warning("%s stays without a saturation: %s", row, error)
        return
    colorizer.config = replace(colorizer.config, saturation_gain=gain, saturation_exponent=exponent)
