"""Fits a model's saturation, so that its pictures are as colourful as the truth."""

import logging
from dataclasses import replace
from pathlib import Path

from service.network.checkpoint import CONFIG_FILE, METRICS_FILE, Checkpoint, CheckpointConfig
from service.network.colorizer import Colorizer
from training.errors import UnreachableColorError
from training.measure.predictions import MAX_GAIN, Predictions

logger = logging.getLogger(__name__)

EXPONENTS = (0.0, 0.25, 0.5)
"""Larger ones still gain a little CIEDE2000, but to the eye skies glow while fields and faces fade to grey."""


def fit_saturation(colorizer: Colorizer, photos: Path, ratio: float) -> tuple[float, float]:
    """The gain and the exponent with which a colorizer's pictures are as colourful as `ratio` of the truth's.

    For each exponent the gain is sought at which the mean colourfulness of the pictures, as the service would deliver
    them, is `ratio` of the truth's. Of these pairs the one with the smallest mean CIEDE2000 is taken.

    Raises:
        NoPhotosError: The folder holds no photographs, or none with any colour.
        UnreadablePhotoError: One of them cannot be read.
        UnreachableColorError: No gain up to 4 is enough.
    """
    predictions = Predictions(colorizer, photos)
    fitted = [(gain, exponent) for exponent in EXPONENTS if (gain := predictions.gain(exponent, ratio)) is not None]
    if not fitted:
        raise UnreachableColorError(
            f"its answers are almost grey: even with a gain of {MAX_GAIN} not as colourful as {ratio} of the truth"
        )
    differences = [predictions.differences(gain, exponent).mean().item() for gain, exponent in fitted]
    for (gain, exponent), difference in zip(fitted, differences, strict=True):
        logger.info("exponent %.2f, gain %.3f: CIEDE2000 %.3f", exponent, gain, difference)
    gain, exponent = fitted[differences.index(min(differences))]
    return round(gain, 3), exponent


def calibrate(model: Path, photos: Path, ratio: float) -> CheckpointConfig:
    """Writes the fitted saturation into a model's config.json and returns that; its metrics.json is removed.

    Raises what `fit_saturation` does, and CheckpointError where the model cannot be loaded.
    """
    checkpoint = Checkpoint.load(model)
    gain, exponent = fit_saturation(checkpoint.colorizer, photos, ratio)
    network = replace(checkpoint.config.network, saturation_gain=gain, saturation_exponent=exponent)
    config = checkpoint.config.model_copy(update={"network": network})
    # Figures of another saturation would speak for this one.
    (model / METRICS_FILE).unlink(missing_ok=True)
    (model / CONFIG_FILE).write_text(config.model_dump_json(indent=2) + "\n")
    return config
