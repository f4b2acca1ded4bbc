"""Chroma, calibrated: a network trained on squared error answers the mean of the plausible colours, which is dull."""

from torch import Tensor

REFERENCE_CHROMA = 20.0
"""The chroma at which the exponent changes nothing, in units of a* and b*."""


def saturate(ab: Tensor, gain: float, exponent: float) -> Tensor:
    """a*, b* (B, 2, H, W) with the same hues and the chroma C · gain · (C / 20)^exponent.

    An exponent above 0 raises the chroma most where the network already dares to say a colour, and leaves what it is
    unsure of nearly grey: at equal colourfulness that costs less CIEDE2000 than a plain gain.
    """
    chroma = ab.square().sum(dim=1, keepdim=True).sqrt()
    return ab * (gain * (chroma / REFERENCE_CHROMA) ** exponent)
