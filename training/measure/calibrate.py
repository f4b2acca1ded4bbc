"""Fits a model's saturation, so that its pictures are as colourful as the truth."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from scipy.optimize import brentq
from torch import Tensor
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from service.imaging import color
from service.network.checkpoint import CONFIG_FILE, METRICS_FILE, Checkpoint, CheckpointConfig
from service.network.colorizer import Colorizer
from service.network.saturation import saturate
from training import metrics
from training.answers import predict_raw
from training.data import CenterCrops, split_lab
from training.errors import NoPhotosError, UnreachableColorError
from training.evaluate import BATCH_SIZE, deliver
from training.photos import open_photos

logger = logging.getLogger(__name__)

MAX_PHOTOS = 400
"""Of more, these are taken, spread evenly: their predictions stay in memory, 300 KB each."""

EXPONENTS = (0.0, 0.25, 0.5)
"""Larger ones still gain a little CIEDE2000, but to the eye skies glow while fields and faces fade to grey."""

MAX_GAIN = 4.0

MIN_COLORFULNESS = 1.0
"""Rounding to 8 bits alone makes about 0.1."""

_TOLERANCE = 2e-3  # of the gain: less than the third digit of a colourfulness ratio


@dataclass(frozen=True)
class _Batch:
    """uint8 sRGB (B, 3, 224, 224); L* (B, 1, …) and the raw a*, b* (B, 2, …) in half precision."""

    truth: Tensor
    lightness: Tensor
    raw: Tensor

    def deliver(self, gain: float, exponent: float) -> Tensor:
        return deliver(self.lightness.float(), saturate(self.raw.float(), gain, exponent))


def fit_saturation(colorizer: Colorizer, photos: Path, ratio: float) -> tuple[float, float]:
    """The gain and the exponent with which a colorizer's pictures are as colourful as `ratio` of the truth's.

    For each exponent the gain is sought at which the mean colourfulness of the pictures, as the service would deliver
    them, is `ratio` of the truth's. Of these pairs the one with the smallest mean CIEDE2000 is taken.

    Raises:
        NoPhotosError: The folder holds no photographs, or none with any colour.
        UnreadablePhotoError: One of them cannot be read.
        UnreachableColorError: No gain up to 4 is enough.
    """
    batches = _predict(colorizer, photos)
    target = ratio * _mean([metrics.colorfulness(batch.truth) for batch in batches])
    if target < MIN_COLORFULNESS:
        raise NoPhotosError(f"no photograph below {photos} has any colour to compare with")
    fitted = [(gain, exponent) for exponent in EXPONENTS if (gain := _gain(batches, exponent, target)) is not None]
    if not fitted:
        raise UnreachableColorError(
            f"its answers are almost grey: even with a gain of {MAX_GAIN} not as colourful as {ratio} of the truth"
        )
    differences = [_difference(batches, gain, exponent) for gain, exponent in fitted]
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


def _predict(colorizer: Colorizer, photos: Path) -> list[_Batch]:
    photo_set = open_photos(photos)
    crops = CenterCrops(photo_set, list(range(len(photo_set))))
    spread = torch.linspace(0, len(crops) - 1, min(MAX_PHOTOS, len(crops))).round().int().tolist()
    batches = []
    for truth in tqdm(DataLoader(Subset(crops, spread), batch_size=BATCH_SIZE), desc="predicting", unit="batch"):
        lightness, _ = split_lab(truth)
        batches.append(_Batch(truth, lightness.half(), predict_raw(colorizer, lightness).half()))
    return batches


def _gain(batches: list[_Batch], exponent: float, target: float) -> float | None:
    """The gain at which the pictures are as colourful as the target; None where none up to `MAX_GAIN` is."""

    def excess(gain: float) -> float:
        return _mean([metrics.colorfulness(batch.deliver(gain, exponent)) for batch in batches]) - target

    if excess(MAX_GAIN) < 0:
        return None
    return float(brentq(excess, 0, MAX_GAIN, xtol=_TOLERANCE))


def _difference(batches: list[_Batch], gain: float, exponent: float) -> float:
    """Mean CIEDE2000."""
    return _mean(
        [
            metrics.ciede2000(
                color.rgb_to_lab(batch.deliver(gain, exponent).float() / 255),
                color.rgb_to_lab(batch.truth.float() / 255),
            ).mean(dim=(1, 2))
            for batch in batches
        ]
    )


def _mean(parts: list[Tensor]) -> float:
    return torch.cat(parts).mean().item()
