"""Chroma, calibrated: networks that learn an average of the plausible colours answer too faintly."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HUES = 24
"""Rows of the tables: CIELAB hue angles, a row every 15 degrees from 0, and after the last the first again."""

CERTAINTIES = 12
"""Columns of `ChromaMap.gains`: `certainty` from 0 to 1."""

LIGHTNESSES = 11
"""Columns of `ChromaMap.ceilings`: L* from 0 to 100."""

UNKNOWN_ERROR = 10.0
"""The error expected of a network that does not tell: about the mean error of a grey answer, in units of a* and b*."""

LARGEST_ERROR = 256.0
"""In units of a* and b*: no colours are further apart."""

SMALLEST_CHROMA = 1e-3
"""In units of a* and b*: keeps grey from dividing by zero."""

_NO_CEILING = 200.0  # above any chroma of sRGB
_KNEE = 0.7  # of the ceiling: below it nothing is held back


class ChromaMap(nn.Module):
    """Maps the network's chroma C to gain(hue, certainty) · C, bent below the chroma that photographs have there.

    The gain lifts colours above `ceiling(hue, L*)` no further, and up to it with a soft knee; colours that the network
    itself puts above are left. Hue and lightness stay. Both tables are fitted to photographs by `python -m training
    calibrate` and are part of the model; fitted ones are monotone at any hue, lightness and expected error.
    """

    gains: Tensor
    """(HUES, CERTAINTIES), factors of at least 0."""
    ceilings: Tensor
    """(HUES, LIGHTNESSES), chroma in units of a* and b*."""

    def __init__(self) -> None:
        """The map that changes nothing."""
        super().__init__()
        self.register_buffer("gains", torch.ones(HUES, CERTAINTIES))
        self.register_buffer("ceilings", torch.full((HUES, LIGHTNESSES), _NO_CEILING))

    def forward(self, ab: Tensor, expected_error: Tensor | None, lightness: Tensor) -> Tensor:
        """Raw a*, b* (B, 2, H, W) → calibrated ones.

        `expected_error`: of a* and b*, in their units, (B, 1, H, W); None: the network does not tell.
        `lightness`: L* in [0, 100], (B, 1, H, W).
        """
        a, b = ab[:, :1], ab[:, 1:]
        chroma = (a.square() + b.square()).sqrt().clamp(min=SMALLEST_CHROMA)
        hue = hue_position(a, b)
        lifted = chroma * look_up(self.gains, hue, certainty(chroma, expected_error) * (CERTAINTIES - 1))
        ceiling = look_up(self.ceilings, hue, lightness * ((LIGHTNESSES - 1) / 100))
        mapped = torch.minimum(lifted, torch.maximum(chroma, _bend(lifted / ceiling) * ceiling))
        return ab * (mapped / chroma)


class Uncalibrated(nn.Module):
    """Leaves the network's colours as they are: what it has in place of a `ChromaMap` before one is fitted."""

    def forward(self, ab: Tensor, expected_error: Tensor | None, lightness: Tensor) -> Tensor:  # noqa: ARG002 - as ChromaMap
        """Raw a*, b* (B, 2, H, W) → the same."""
        return ab


def with_error(ab: Tensor, expected_error: Tensor | None) -> Tensor:
    """a*, b* (B, 2, H, W) and how far off they are expected to be, in their units, as one tensor (B, 3, H, W)."""
    error = torch.full_like(ab[:, :1], UNKNOWN_ERROR) if expected_error is None else expected_error
    return torch.cat((ab, error.clamp(max=LARGEST_ERROR)), dim=1)


def confidence(expected_error: Tensor) -> Tensor:
    """From 0 to 1, where no error is expected; 0.5 for `UNKNOWN_ERROR`."""
    return UNKNOWN_ERROR / (UNKNOWN_ERROR + expected_error)


def certainty(chroma: Tensor, expected_error: Tensor | None) -> Tensor:
    """C / (C + expected error), in [0, 1): 0.5 where the network expects to be as far off as its colour is strong.

    The error is that of a* or b* alone: a colour's distance from the truth is some half larger.
    """
    error = UNKNOWN_ERROR if expected_error is None else expected_error
    return chroma / (chroma + error)


def hue_position(a: Tensor, b: Tensor) -> Tensor:
    """The row of the tables, in [0, HUES], that a colour's hue falls on or between."""
    turns = torch.atan2(b, a) / (2 * torch.pi)
    return (turns + (turns < 0).to(turns.dtype)) * HUES


def look_up(table: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Reads a table (HUES, N) between its places: at rows in [0, HUES] and columns in [0, N − 1], all (B, 1, H, W)."""
    # In [-1, 1], columns first, as grid_sample reads it.
    places = torch.cat((columns * (2 / (table.shape[1] - 1)) - 1, rows * (2 / HUES) - 1), dim=1).permute(0, 2, 3, 1)
    closed = torch.cat((table, table[:1])).float()[None, None]
    # A batch of one tall picture: there is one table.
    tall = places.flatten(0, 1)[None]
    return F.grid_sample(closed, tall, mode="bilinear", padding_mode="border", align_corners=True).view_as(rows)


def _bend(share: Tensor) -> Tensor:
    """The identity up to the knee, from there on smoothly towards 1."""
    beyond = (share - _KNEE).clamp(min=0) / (1 - _KNEE)
    return share.clamp(max=_KNEE) + (1 - _KNEE) * torch.tanh(beyond)
