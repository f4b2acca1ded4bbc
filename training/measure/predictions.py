"""A network's answers to a set of photographs, kept to be delivered at many saturations."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from scipy.optimize import brentq
from torch import Tensor
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from service.imaging import color
from service.network.colorizer import Colorizer
from service.network.saturation import saturate
from training.errors import NoPhotosError
from training.measure import metrics
from training.measure.answers import deliver, predict_raw
from training.measure.evaluate import BATCH_SIZE
from training.photos.crops import CenterCrops, split_lab
from training.photos.sets import open_photos

MAX_PHOTOS = 400
"""Of more, these are taken, spread evenly: their predictions stay in memory, 300 KB each."""

MAX_GAIN = 4.0

MIN_COLORFULNESS = 1.0
"""Rounding to 8 bits alone makes about 0.1."""

_TOLERANCE = 2e-3  # of the gain: less than the third digit of a colourfulness ratio


@dataclass(frozen=True)
class PredictedBatch:
    """uint8 sRGB (B, 3, 224, 224); L* (B, 1, …) and the raw a*, b* (B, 2, …) in half precision."""

    truth: Tensor
    lightness: Tensor
    raw: Tensor

    def deliver(self, gain: float, exponent: float) -> Tensor:
        """The pictures as the service would deliver them with this saturation, uint8 sRGB (B, 3, 224, 224)."""
        return deliver(self.lightness.float(), saturate(self.raw.float(), gain, exponent))


class Predictions:
    """Of the centre crops of at most `MAX_PHOTOS` photographs of a folder."""

    def __init__(self, colorizer: Colorizer, photos: Path) -> None:
        """Asks the network.

        Raises:
            NoPhotosError: The folder holds no photographs, or none with any colour.
            UnreadablePhotoError: One of them cannot be read.
        """
        photo_set = open_photos(photos)
        crops = CenterCrops(photo_set, list(range(len(photo_set))))
        spread = torch.linspace(0, len(crops) - 1, min(MAX_PHOTOS, len(crops))).round().int().tolist()
        self.batches = []
        for truth in tqdm(DataLoader(Subset(crops, spread), batch_size=BATCH_SIZE), desc="predicting", unit="batch"):
            lightness, _ = split_lab(truth)
            self.batches.append(PredictedBatch(truth, lightness.half(), predict_raw(colorizer, lightness).half()))
        self.true_colorfulness = self._mean(lambda batch: metrics.colorfulness(batch.truth))
        if self.true_colorfulness < MIN_COLORFULNESS:
            raise NoPhotosError(f"no photograph below {photos} has any colour to compare with")

    def gain(self, exponent: float, ratio: float) -> float | None:
        """The gain at which the pictures are as colourful as `ratio` of the truth; None: none up to `MAX_GAIN` is."""
        target = ratio * self.true_colorfulness

        def excess(gain: float) -> float:
            return self._mean(lambda batch: metrics.colorfulness(batch.deliver(gain, exponent))) - target

        if excess(MAX_GAIN) < 0:
            return None
        return float(brentq(excess, 0, MAX_GAIN, xtol=_TOLERANCE))

    def differences(self, gain: float, exponent: float) -> Tensor:
        """CIEDE2000 between the delivered pictures and the truth, one mean a photograph: (N,)."""
        return torch.cat([_difference(batch.deliver(gain, exponent), batch.truth) for batch in self.batches])

    def _mean(self, figure: Callable[[PredictedBatch], Tensor]) -> float:
        """Over photographs, of a figure that gives one number each."""
        return torch.cat([figure(batch) for batch in self.batches]).mean().item()


def _difference(picture: Tensor, truth: Tensor) -> Tensor:
    """uint8 sRGB (B, 3, H, W) → (B,)."""
    pair = (color.rgb_to_lab(rgb.float() / 255) for rgb in (picture, truth))
    return metrics.ciede2000(*pair).mean(dim=(1, 2))
