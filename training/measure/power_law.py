"""Chroma, calibrated by two numbers: what a `ChromaMap` is compared with, and what makes networks equally colourful."""

from torch import Tensor, nn

REFERENCE_CHROMA = 20.0
"""The chroma at which the exponent changes nothing, in units of a* and b*."""


class PowerLaw(nn.Module):
    """Maps the network's chroma C to C · gain · (C / 20)^exponent; hue stays.

    An exponent above 0 raises the chroma most where the network already dares to say a colour, and leaves what it is
    unsure of nearly grey: at equal colourfulness that costs less CIEDE2000 than a plain gain.
    """

    def __init__(self, gain: float, exponent: float) -> None:
        super().__init__()
        self.gain = gain
        self.exponent = exponent

    def forward(self, ab: Tensor, expected_error: Tensor | None, lightness: Tensor) -> Tensor:  # noqa: ARG002 - as ChromaMap
        """Raw a*, b* (B, 2, H, W) → calibrated ones; the rest is not looked at."""
        chroma = ab.square().sum(dim=1, keepdim=True).sqrt()
        return ab * (self.gain * (chroma / REFERENCE_CHROMA) ** self.exponent)
