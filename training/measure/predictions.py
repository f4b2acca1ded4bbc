"""A network's answers to a set of photographs, kept to be delivered with many calibrations."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from scipy.optimize import brentq
from torch import Tensor
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from service.imaging import color
from service.network.colorizer import Colorizer
from training.errors import NoPhotosError
from training.measure import metrics
from training.measure.answers import deliver
from training.measure.evaluate import BATCH_SIZE
from training.photos.crops import CenterCrops, split_lab
from training.photos.sets import PhotoSet

MAX_PHOTOS = 800
"""Of more, these are taken, spread evenly: their predictions stay in memory, 550 KB each."""

MAX_GAIN = 4.0
"""No plain gain beyond is of use to anybody."""

MIN_COLORFULNESS = 1.0
"""Rounding to 8 bits alone makes about 0.1."""

_TOLERANCE = 2e-3  # of the parameter sought

Calibration = Callable[[Tensor, Tensor | None, Tensor], Tensor]
"""Raw a* and b*, the error expected of them, and L* → calibrated a* and b*: see `ChromaMap.forward`."""


@dataclass(frozen=True)
class PredictedBatch:
    """uint8 sRGB (B, 3, 224, 224); L* (B, 1, …), raw a*, b* (B, 2, …), and their expected error (B, 1, …) as halves."""

    truth: Tensor
    lightness: Tensor
    raw: Tensor
    expected_error: Tensor | None
    """None: the network does not tell."""

    def deliver(self, calibration: Calibration) -> Tensor:
        """The pictures as the service would deliver them, calibrated so, uint8 sRGB (B, 3, 224, 224)."""
        lightness = self.lightness.float()
        expected = None if self.expected_error is None else self.expected_error.float()
        return deliver(lightness, calibration(self.raw.float(), expected, lightness))


class Predictions:
    """Of the centre crops of at most `MAX_PHOTOS` photographs."""

    @torch.inference_mode()
    def __init__(self, colorizer: Colorizer, photos: PhotoSet, indices: Sequence[int] | None = None) -> None:
        """Asks the network about the photographs at these indices of a set; None: about all.

        Raises:
            NoPhotosError: There are no photographs, or none with any colour.
            UnreadablePhotoError: One of them cannot be read.
        """
        crops = CenterCrops(photos, list(range(len(photos)) if indices is None else indices))
        if not len(crops):
            raise NoPhotosError(f"none of the photographs of {photos.folder} is to be looked at")
        spread = torch.linspace(0, len(crops) - 1, min(MAX_PHOTOS, len(crops))).round().int().tolist()
        self.batches = []
        for truth in tqdm(DataLoader(Subset(crops, spread), batch_size=BATCH_SIZE), desc="predicting", unit="batch"):
            lightness, _ = split_lab(truth)
            prediction = colorizer(lightness)
            expected = prediction.expected_error
            halves = lightness.half(), prediction.raw.half(), None if expected is None else expected.half()
            self.batches.append(PredictedBatch(truth, *halves))
        self.true_colorfulness = self._mean(lambda batch: metrics.colorfulness(batch.truth))
        if self.true_colorfulness < MIN_COLORFULNESS:
            raise NoPhotosError(f"no photograph of {photos.folder} has any colour to compare with")

    def reach(self, family: Callable[[float], Calibration], ratio: float, largest: float) -> float | None:
        """The parameter in [0, `largest`] with which the pictures are as colourful as `ratio` of the truth.

        `family`: the calibration of a parameter, more colourful with a larger one. 0 where that is colourful enough;
        None: none is.
        """
        target = ratio * self.true_colorfulness

        @cache  # the ends are asked for twice
        def excess(parameter: float) -> float:
            calibration = family(parameter)
            return self._mean(lambda batch: metrics.colorfulness(batch.deliver(calibration))) - target

        if excess(largest) < 0:
            return None
        if excess(0.0) >= 0:
            return 0.0
        return float(brentq(excess, 0.0, largest, xtol=_TOLERANCE))

    def differences(self, calibration: Calibration) -> Tensor:
        """CIEDE2000 between the delivered pictures and the truth, one mean a photograph: (N,)."""
        return torch.cat([_difference(batch.deliver(calibration), batch.truth) for batch in self.batches])

    def _mean(self, figure: Callable[[PredictedBatch], Tensor]) -> float:
        """Over photographs, of a figure that gives one number each."""
        return torch.cat([figure(batch) for batch in self.batches]).mean().item()


def _difference(picture: Tensor, truth: Tensor) -> Tensor:
    """uint8 sRGB (B, 3, H, W) → (B,)."""
    pair = (color.rgb_to_lab(rgb.float() / 255) for rgb in (picture, truth))
    return metrics.ciede2000(*pair).mean(dim=(1, 2))
