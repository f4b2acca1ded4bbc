"""Whether a network's confidence can be believed: the errors it predicts against those it makes."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from service.network.colorizer import Colorizer
from service.network.preprocessing import AB_SCALE
from training.photos.crops import split_lab

BINS = 10

_SMALLEST, _LARGEST, _STEPS = 1e-2, 1e3, 4000  # of the histogram behind the bins: a step is 0.3 %


@dataclass(frozen=True)
class ReliabilityBin:
    """A tenth of all pixels, after the error predicted of them; both means in units of a* and b*."""

    predicted: float
    real: float
    pixels: int


@dataclass(frozen=True)
class Reliability:
    """The bins, from the smallest predicted error to the largest; fewer where many predictions are one."""

    bins: list[ReliabilityBin]

    @property
    def calibration_error(self) -> float:
        """Mean over pixels of how far a bin's real error is from the predicted one (expected calibration error).

        Guo et al. 2017, "On Calibration of Modern Neural Networks", equation 3, with errors in place of accuracies.
        """
        pixels = sum(one.pixels for one in self.bins)
        return sum(one.pixels * abs(one.predicted - one.real) for one in self.bins) / pixels


@torch.inference_mode()
def measure_reliability(colorizer: Colorizer, batches: Iterable[Tensor]) -> Reliability:
    """The reliability of a network with confidence over pictures, uint8 sRGB (B, 3, 224, 224).

    The predicted error is the scale of `Prediction.log_scale`, the real one the mean of |Δa*| and |Δb*|, both before
    the calibration: that is what the confidence has learned.
    """
    counts, predicted, real = torch.zeros(3, _STEPS, dtype=torch.float64)
    for rgb in batches:
        lightness, target = split_lab(rgb)
        prediction = colorizer(lightness)
        scale = prediction.expected_error.flatten()
        error = (prediction.raw - target * AB_SCALE).abs().mean(dim=1).flatten()
        place = (scale / _SMALLEST).log() / torch.tensor(_LARGEST / _SMALLEST).log() * _STEPS
        step = place.long().clamp(0, _STEPS - 1)
        for total, values in ((counts, torch.ones_like(scale)), (predicted, scale), (real, error)):
            total += torch.bincount(step, values.double(), _STEPS)
    # The bin of a step is where the middle of its pixels lies.
    bins = ((counts.cumsum(0) - counts / 2) / counts.sum() * BINS).long()
    pixels, predicted, real = (torch.bincount(bins, total, BINS) for total in (counts, predicted, real))
    return Reliability(
        [
            ReliabilityBin(predicted[of].item() / count, real[of].item() / count, round(count))
            for of, count in enumerate(pixels.tolist())
            if count
        ]
    )
