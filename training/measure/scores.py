"""Figures of many answers, collected batch by batch without keeping a picture, and summed up with their intervals."""

from collections import defaultdict

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

from service.imaging import color
from training.measure import metrics
from training.measure.answers import GREY
from training.measure.bootstrap import Bootstrap, Estimate, Key
from training.measure.frechet import FeatureExtractor, FeatureStatistics, frechet_distance

ALWAYS_B = "always_b"
TRUTH = "truth"

Scores = dict[str, dict[str, Estimate]]
"""Row → figure → estimate."""

BIN_SIZE = 10
"""Side of the squares of the ab plane that count as one colour, as in Zhang et al. 2016."""

_BINS_A_SIDE = 23  # of ±110, more than sRGB spans
_SMOOTHING = 5 / BIN_SIZE  # their σ = 5

_LARGEST_DIFFERENCE, _DIFFERENCE_STEP = 150.0, 0.05  # of the histogram behind the 95th percentile, in ΔE00


class ColorFrequencies:
    """How often each colour occurs in a set of photographs."""

    def __init__(self) -> None:
        self._counts = torch.zeros(_BINS_A_SIDE**2, dtype=torch.long)

    def add(self, ab: Tensor) -> None:
        """`ab`: a*, b* (B, 2, H, W)."""
        self._counts += torch.bincount(_color_bins(ab).flatten(), minlength=_BINS_A_SIDE**2)

    def weights(self) -> Tensor:
        """Weight of a pixel by the bin of its true colour, float32 (bins,), 1 in the mean over the set's pixels.

        Zhang et al. 2016, equation 4 with λ = 0, as in their rebalanced AuC: the inverse of the colour's probability,
        smoothed with σ = 5. Theirs is ImageNet's probability, this one the measured set's own.
        """
        counts = self._counts.view(_BINS_A_SIDE, _BINS_A_SIDE).double().numpy()
        smoothed = torch.from_numpy(gaussian_filter(counts, _SMOOTHING, mode="constant")).flatten()
        weights = torch.where(self._counts > 0, 1 / smoothed, 0)
        return (weights * self._counts.sum() / (weights * self._counts).sum()).float()


class Scoreboard:
    """Collects every row's figures. Of each photograph some numbers are kept, and nothing else."""

    def __init__(self, photos: int, color_weights: Tensor, extractor: FeatureExtractor | None) -> None:
        """`photos`: how many will come; `color_weights`: of `ColorFrequencies`; None: there is no Fréchet distance."""
        self._color_weights = color_weights
        self._extractor = extractor
        self._rows: list[str] = []
        # Filled in place: small arrays kept from every batch would break up the heap, and memory would grow.
        self._figures: dict[Key, NDArray[np.float64]] = defaultdict(lambda: np.zeros(photos))
        self._done: dict[str, int] = defaultdict(int)
        steps = round(_LARGEST_DIFFERENCE / _DIFFERENCE_STEP)
        self._differences: dict[str, Tensor] = defaultdict(lambda: torch.zeros(steps, dtype=torch.long))
        self._features: dict[str, FeatureStatistics] = defaultdict(FeatureStatistics)

    def add_truth(self, truth: Tensor) -> None:
        """Once a batch: uint8 sRGB (B, 3, 224, 224)."""
        ab = color.rgb_to_lab(truth.float() / 255)[:, 1:]
        weights = self._color_weights[_color_bins(ab)]
        self._record(ALWAYS_B, channel_argmax_accuracy=ab.argmax(dim=1).float().mean(dim=(1, 2)))
        self._record(TRUTH, colorfulness=metrics.colorfulness(truth), weight=weights.mean(dim=(1, 2)))
        if self._extractor is not None:
            self._features[TRUTH].add(self._extractor(truth))

    def add(self, row: str, ab: Tensor, picture: Tensor, truth: Tensor) -> None:
        """Once a batch and row: the answered a*, b* (B, 2, 224, 224), what the service would deliver of it, the truth.

        Both pictures are uint8 sRGB (B, 3, 224, 224).
        """
        if row not in self._rows:
            self._rows.append(row)
        true_lab = color.rgb_to_lab(truth.float() / 255)
        true_ab = true_lab[:, 1:]
        area = metrics.area_under_curve(ab, true_ab)
        difference = metrics.ciede2000(color.rgb_to_lab(picture.float() / 255), true_lab)
        histogram = self._differences[row]
        steps = (difference.flatten() / _DIFFERENCE_STEP).long().clamp(max=len(histogram) - 1)
        histogram += torch.bincount(steps, minlength=len(histogram))
        self._record(
            row,
            mse=metrics.squared_error(ab, true_ab),
            channel_argmax_accuracy=metrics.channel_argmax_accuracy(ab, true_ab),
            psnr=metrics.psnr(picture, truth),
            ciede2000=difference.mean(dim=(1, 2)),
            colorfulness=metrics.colorfulness(picture),
            auc=area.mean(dim=(1, 2)),
            weighted_area=(area * self._color_weights[_color_bins(true_ab)]).mean(dim=(1, 2)),
        )
        if self._extractor is not None:
            self._features[row].add(self._extractor(picture))

    def scores(self) -> Scores:
        """All rows, with 95 % intervals over photographs where a figure is a mean or a ratio of means."""
        bootstrap = Bootstrap(self._figures)
        scores: Scores = {}
        for row in self._rows:
            scores[row] = {
                "mse": bootstrap.mean((row, "mse")),
                "mse_ratio_to_grey": bootstrap.ratio((row, "mse"), (GREY, "mse")),
                "ciede2000": bootstrap.mean((row, "ciede2000")),
                "ciede2000_ratio_to_grey": bootstrap.ratio((row, "ciede2000"), (GREY, "ciede2000")),
                "ciede2000_p95": {"value": self._difference_quantile(row, 0.95)},
                "psnr": bootstrap.mean((row, "psnr")),
                "channel_argmax_accuracy": bootstrap.mean((row, "channel_argmax_accuracy")),
                "colorfulness": bootstrap.mean((row, "colorfulness")),
                "colorfulness_ratio": bootstrap.ratio((row, "colorfulness"), (TRUTH, "colorfulness")),
                "auc": bootstrap.mean((row, "auc")),
                "auc_rebalanced": bootstrap.ratio((row, "weighted_area"), (TRUTH, "weight")),
            }
            if self._extractor is not None:
                scores[row]["frechet"] = {"value": frechet_distance(self._features[row], self._features[TRUTH])}
        scores[ALWAYS_B] = {"channel_argmax_accuracy": bootstrap.mean((ALWAYS_B, "channel_argmax_accuracy"))}
        scores[TRUTH] = {"colorfulness": bootstrap.mean((TRUTH, "colorfulness"))}
        return scores

    def _record(self, row: str, **figures: Tensor) -> None:
        first = self._done[row]
        for name, values in figures.items():
            self._figures[row, name][first : first + len(values)] = values.numpy()
            self._done[row] = first + len(values)

    def _difference_quantile(self, row: str, share: float) -> float:
        """Over all pixels of all photographs, exact to the histogram's step."""
        cumulative = self._differences[row].cumsum(dim=0).numpy()
        return float((np.searchsorted(cumulative, share * cumulative[-1]) + 0.5) * _DIFFERENCE_STEP)


def _color_bins(ab: Tensor) -> Tensor:
    """a*, b* (B, 2, H, W) → number of the bin (B, H, W); bins are centred on multiples of their size."""
    side = _BINS_A_SIDE // 2
    a, b = (ab / BIN_SIZE).round().long().clamp(-side, side).unbind(1)
    return (a + side) * _BINS_A_SIDE + b + side
