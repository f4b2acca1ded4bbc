"""How much colour, and how warm: what people ask for beside what the network predicts."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_WARMEST = (2.4, 17.7)
"""a* and b* of D50's white in a CIELAB that is relative to D65's (CIE 15:2004): what daylight at noon is to that of a
low sun."""


@dataclass(frozen=True, slots=True)
class Adjustment:
    """Applied to predicted chroma; the default changes nothing.

    Raises:
        ValueError: One of them is out of its range.
    """

    saturation: float = 1.0
    """A factor on the chroma, 0 or more."""
    strength: float = 1.0
    """From 0, grey, to 1."""
    warmth: float = 0.0
    """From -1, as if under a blue sky, to 1, as if under a low sun."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.saturation) and self.saturation >= 0 <= self.strength <= 1 >= abs(self.warmth)):
            raise ValueError(f"{self} is out of range")

    def apply(self, ab: Tensor, lightness: Tensor) -> Tensor:
        """a*, b* (2, h, w) at L* (1, h, w) → adjusted ones."""
        adjusted = ab * self.saturation
        if self.warmth:
            # A change of the light's white moves X and Z by factors, and so a* and b* in proportion to L* + 16.
            tint = torch.tensor(_WARMEST).to(ab)[:, None, None] * self.warmth
            adjusted = adjusted + tint * ((lightness + 16) / 116)
        return adjusted * self.strength


UNCHANGED = Adjustment()
