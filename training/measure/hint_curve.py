"""What hints are worth: quality against how many there are, and whether their colours arrive."""

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from service.imaging import color
from service.network.colorizer import Colorizer
from service.network.preprocessing import HINT_CHANNELS
from training.measure import metrics
from training.measure.answers import deliver
from training.measure.bootstrap import Bootstrap, Estimate

HINTS = (0, 1, 5, 20, 50)
"""How many hints are given. Zhang et al. 2017, "Real-Time User-Guided Image Colorization with Learned Deep Priors",
measure so, too: their curve of PSNR against the number of random points."""

SIDE = 7
"""Of a hint's square, in pixels."""

SEED = 0

HintScores = dict[int, dict[str, Estimate]]
"""Figures by the number of hints: `psnr`, dB, and, but for 0 hints, `difference`, ΔE*ab between hints and answer."""


def measure_hints(colorizer: Colorizer, batches: Iterable[Tensor]) -> HintScores:
    """The curve of a network that takes hints, over pictures, uint8 sRGB (B, 3, 224, 224), delivered as served.

    Hints lie at random places, the first few of a picture's fifty, and have the mean of the true colours below them.
    """
    rng = np.random.default_rng(SEED)
    figures: dict[tuple[str, str], list[float]] = defaultdict(list)
    for truth in batches:
        lab = color.rgb_to_lab(truth.float() / 255)
        lightness, ab = lab[:, :1], lab[:, 1:]
        places = rng.integers(0, np.array(ab.shape[2:]) - SIDE + 1, (len(ab), max(HINTS), 2))
        for count in HINTS:
            hints = _hints(ab, places[:, :count])
            picture = deliver(lightness, colorizer.predict(lightness, hints))
            figures[str(count), "psnr"] += metrics.psnr(picture, truth).tolist()
            if count:
                answered = color.rgb_to_lab(picture.float() / 255)[:, 1:]
                distance = torch.linalg.vector_norm(answered - hints[:, :2], dim=1) * hints[:, 2]
                figures[str(count), "difference"] += (distance.sum((1, 2)) / hints[:, 2].sum((1, 2))).tolist()
    bootstrap = Bootstrap({key: np.array(values) for key, values in figures.items()})
    scores: HintScores = {count: {} for count in HINTS}
    for row, figure in figures:
        scores[int(row)][figure] = bootstrap.mean((row, figure))
    return scores


def _hints(ab: Tensor, places: np.ndarray) -> Tensor:
    """True a*, b* (B, 2, H, W) and rows and columns of hints' corners (B, hints, 2) → what `predict` takes."""
    hints = ab.new_zeros(len(ab), HINT_CHANNELS, *ab.shape[2:])
    for truth, hint, corners in zip(ab, hints, places.tolist(), strict=True):
        for top, left in corners:
            square = (slice(None), slice(top, top + SIDE), slice(left, left + SIDE))
            hint[:2][square] = truth[square].mean(dim=(1, 2), keepdim=True)
            hint[2:][square] = 1
    return hints
