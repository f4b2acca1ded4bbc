"""Recipes against one another, at equal budget, from the same weights, on the same crops."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from service.network.checkpoint import Checkpoint
from service.network.colorizer import Colorizer
from training.calibrate import fit_saturation
from training.evaluate import Evaluation, evaluate
from training.fit import fit
from training.frechet import FeatureExtractor
from training.recipe import Recipe


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
    saturation that makes it as colourful as the truth; the rows without saturation say what the loss alone does. The
    first row, `start`, is the model they all start from. Every run is a folder of `out`; unfinished ones are resumed.

    Raises what `fit`, `fit_saturation` and `evaluate` do.
    """
    start = Checkpoint.load(initial)
    colorizers = {"start": start.colorizer}
    for name in recipes:
        recipe, row = Recipe.load(name, photographs), Path(name).stem
        colorizers[row] = fit(start.config.network.backbone, photos, recipe, out / row, initial=initial).averaged()
    for colorizer in colorizers.values():
        _calibrate(colorizer.eval(), validation)
    return evaluate(colorizers, validation, extractor)


def _calibrate(colorizer: Colorizer, validation: Path) -> None:
    gain, exponent = fit_saturation(colorizer, validation, 1.0)
    colorizer.config = replace(colorizer.config, saturation_gain=gain, saturation_exponent=exponent)
