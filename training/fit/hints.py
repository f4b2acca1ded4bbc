"""Hints as a user would give them, simulated from the true colours."""

import numpy as np
from torch import Tensor

MEAN_PATCHES = 8
"""Of a crop that has hints: how many come is geometric, as in Zhang et al. 2017."""

LARGEST_PATCH = 9
"""Side of a hint's square, in pixels; the smallest is 1."""


def simulate_hints(target: Tensor, share: float, seed: int) -> Tensor:
    """Squares of the true colours' means, for `share` of the pictures; none for the others.

    Source: Zhang et al. 2017, "Real-Time User-Guided Image Colorization with Learned Deep Priors", section 3.2. Theirs
    lie about the middle of the picture, these anywhere: people tap where the colour is wrong.

    `target`: ab/128 (B, 2, H, W). Returns (B, 3, H, W): ab/128 and 1 inside the squares, 0 outside.
    """
    rng = np.random.default_rng(seed)
    hints = target.new_zeros(len(target), 3, *target.shape[2:])
    for truth, hint in zip(target, hints, strict=True):
        if rng.random() >= share:
            continue
        for _ in range(rng.geometric(1 / MEAN_PATCHES)):
            side = int(rng.integers(1, LARGEST_PATCH + 1))
            top, left = (int(rng.integers(0, extent - side + 1)) for extent in truth.shape[1:])
            square = (..., slice(top, top + side), slice(left, left + side))
            hint[:2][square] = truth[square].mean(dim=(1, 2), keepdim=True)
            hint[2][square[1:]] = 1
    return hints
