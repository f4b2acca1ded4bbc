"""Fits a `ChromaMap` to photographs: as colourful as asked for, at the least error, and with few pixels that glow."""

from dataclasses import dataclass

import torch
from torch import Tensor

from service.imaging import color
from service.network.chroma import CERTAINTIES, HUES, LIGHTNESSES, SMALLEST_CHROMA, ChromaMap, certainty, hue_position
from training.errors import UnreachableColorError
from training.measure import metrics
from training.measure.predictions import PredictedBatch, Predictions

GLOW_COST = 20.0
"""What a glowing pixel costs, in units of CIEDE2000, on top of its own difference."""

MAX_SHIFT = 1.0
"""No chroma is moved by more than about so many times the error that the network expects of it."""

CEILING_QUANTILE = 0.95
"""Of the chroma of a hue and lightness, over pixels that have a hue."""

# Pixels between those that are looked at, in both directions: neighbours say the same. Odd, so that all phases of the
# decoder's strides are seen.
_PITCH = 5
_GAINS = torch.cat((torch.arange(0.5, 2.0, 0.1), torch.arange(2.0, 4.01, 0.2)))
_SMOOTHING = 1.0  # rows of hue, standard deviation
_PRIOR_PIXELS = 2000.0  # pixels' worth of the mean over all hues, added to every hue: some are rare
_NEUTRAL_COST = 200.0  # of a gain of 0 or 2: where there are no pixels at all, nothing is changed
_PRICES = torch.linspace(-1, 3, 41)  # CIEDE2000 that a unit of colourfulness may cost; below 0, what paleness may
_STEEPEST_FALL = 0.75  # from one certainty to the next: with less, the map would fall as chroma rises
_PRIOR_CEILING = 200.0  # pixels, the same for the ceilings
_HUED_CHROMA = 4.0  # below it hue says nothing
_CHROMA_STEPS, _CHROMA_STEP = 75, 2.0


@dataclass(frozen=True)
class _Costs:
    """Sums over the pixels at each hue and certainty, (…, HUES, CERTAINTIES)."""

    cost: Tensor
    """CIEDE2000 and `GLOW_COST` with each of `_GAINS`."""
    worth: Tensor
    """What a gain of 1 adds to the colourfulness of their pictures."""
    pixels: Tensor


def fit_chroma_map(predictions: Predictions, ratio: float) -> ChromaMap:
    """The map whose pictures are as colourful as `ratio` of the truth's.

    Of the tables of gains that are, it has about the smallest sum of mean CIEDE2000 and `GLOW_COST` for each pixel that
    glows: at one price of colourfulness, the same at every hue and certainty, each gain is the one that pays best
    (Lagrange's multiplier), and the price is sought. Then neighbouring gains are mixed and held within bounds.

    Raises:
        UnreachableColorError: No price is enough.
    """
    costs, ceilings = _costs(predictions.batches), _ceilings(predictions.batches)
    tables = [_gains(costs, price) for price in _PRICES.tolist()]

    def at(place: float) -> ChromaMap:
        # Gains jump from one price to another; mixed between prices, colourfulness rises steadily.
        before = min(int(place), len(tables) - 2)
        chroma_map = ChromaMap()
        chroma_map.gains.copy_(tables[before].lerp(tables[before + 1], place - before))
        chroma_map.ceilings.copy_(ceilings)
        return chroma_map

    place = predictions.reach(at, ratio, len(tables) - 1)
    if place is None:
        raise UnreachableColorError(f"no chroma map makes its pictures as colourful as {ratio} of the truth's")
    return at(place)


def _costs(batches: list[PredictedBatch]) -> _Costs:
    cost = torch.zeros(len(_GAINS), HUES, CERTAINTIES, dtype=torch.float64)
    worth, pixels = torch.zeros(2, HUES, CERTAINTIES, dtype=torch.float64)
    for batch in batches:
        truth = color.rgb_to_lab(_thin(batch.truth).float() / 255)
        raw = _thin(batch.raw).float()
        expected = None if batch.expected_error is None else _thin(batch.expected_error).float()
        chroma, most = _chroma(raw), _chroma(truth[:, 1:]) + metrics.EXCESS_CHROMA
        rows = hue_position(raw[:, :1], raw[:, 1:])
        columns = certainty(chroma.clamp(min=SMALLEST_CHROMA), expected) * (CERTAINTIES - 1)
        worth += _spread(rows, columns, _worth(raw), CERTAINTIES)
        pixels += _spread(rows, columns, torch.ones_like(chroma), CERTAINTIES)
        for one, gain in zip(cost, _GAINS.tolist(), strict=True):
            answer = torch.cat((truth[:, :1], raw * gain), dim=1)
            difference = metrics.ciede2000(answer, truth)[:, None]
            one += _spread(rows, columns, difference + GLOW_COST * (chroma * gain > most), CERTAINTIES)
    return _Costs(_smooth(cost), _smooth(worth), _smooth(pixels))


def _worth(ab: Tensor) -> Tensor:
    """What each pixel adds to its picture's colourfulness when its chroma grows in proportion: (B, 1, H, W).

    The derivative, times the number of pixels, of deviation + 0.3 · |mean|, as in `metrics.colorfulness`, but of a* and
    b*, where a gain acts.
    """
    mean = ab.mean(dim=(2, 3), keepdim=True)
    apart = ab - mean
    deviation = apart.square().sum(dim=1, keepdim=True).mean(dim=(2, 3), keepdim=True).sqrt()
    deviation, offset = (size.clamp(min=SMALLEST_CHROMA) for size in (deviation, _chroma(mean)))
    return _along(ab, apart) / deviation + 0.3 * _along(ab, mean) / offset


def _along(ab: Tensor, direction: Tensor) -> Tensor:
    """The scalar product of colours, (B, 1, H, W)."""
    return (ab * direction).sum(dim=1, keepdim=True)


def _gains(costs: _Costs, price: float) -> Tensor:
    """The table that pays best where colourfulness is worth so much CIEDE2000: (HUES, CERTAINTIES)."""
    loss = costs.cost - price * _GAINS[:, None, None] * costs.worth
    # At rare hues few pixels would decide: there, what pays at all hues together has its say.
    loss += _PRIOR_PIXELS * loss.sum(dim=1, keepdim=True) / (costs.pixels.sum(dim=0) + _PRIOR_PIXELS)
    loss += _NEUTRAL_COST * (_GAINS[:, None, None] - 1).square()
    gains = _smooth(_GAINS[loss.argmin(dim=0)], along_certainty=True)
    sure = torch.linspace(0, 1, CERTAINTIES)
    furthest = MAX_SHIFT * (1 - sure) / sure
    gains = torch.minimum(torch.maximum(gains, 1 - furthest), 1 + furthest)
    for column in range(1, CERTAINTIES):
        gains[:, column] = torch.maximum(gains[:, column], _STEEPEST_FALL * gains[:, column - 1])
    return gains


def _ceilings(batches: list[PredictedBatch]) -> Tensor:
    """(HUES, LIGHTNESSES); see `CEILING_QUANTILE`."""
    counts = torch.zeros(_CHROMA_STEPS, HUES, LIGHTNESSES, dtype=torch.float64)
    for batch in batches:
        lab = color.rgb_to_lab(_thin(batch.truth).float() / 255)
        chroma = _chroma(lab[:, 1:])
        rows = hue_position(lab[:, 1:2], lab[:, 2:])
        columns = lab[:, :1] * ((LIGHTNESSES - 1) / 100)
        for step, one in enumerate(counts):
            here = (chroma >= _HUED_CHROMA) & ((chroma / _CHROMA_STEP).long().clamp(max=_CHROMA_STEPS - 1) == step)
            one += _spread(rows, columns, here, LIGHTNESSES)
    counts = _smooth(counts)
    counts += _PRIOR_CEILING * counts.sum(dim=1, keepdim=True) / counts.sum(dim=(0, 1)).clamp(min=1)
    reached = counts.cumsum(dim=0) / counts.sum(dim=0).clamp(min=1e-9)
    return ((reached < CEILING_QUANTILE).sum(dim=0) + 1) * _CHROMA_STEP


def _spread(rows: Tensor, columns: Tensor, weights: Tensor, width: int) -> Tensor:
    """Sums weights into a table (HUES, width), each between the four places it lies among, as `look_up` reads it."""
    row, column = rows.floor(), columns.floor().clamp(0, width - 2)
    table = torch.zeros(HUES * width, dtype=torch.float64)
    for right in (0, 1):
        across = columns - column if right else 1 - (columns - column)
        for down in (0, 1):
            share = across * (rows - row if down else 1 - (rows - row))
            place = (row.long() + down) % HUES * width + column.long() + right
            table += torch.bincount(place.flatten(), (share * weights).flatten().double(), len(table))
    return table.view(HUES, width)


def _smooth(tables: Tensor, along_certainty: bool = False) -> Tensor:
    """Tables (…, HUES, N), each row mixed with its neighbours, by a Gaussian around the circle of hues."""
    rows = torch.arange(HUES)
    apart = (rows[:, None] - rows).abs()
    weights = torch.exp(-0.5 * (torch.minimum(apart, HUES - apart) / _SMOOTHING) ** 2).to(tables.dtype)
    smooth = weights / weights.sum(dim=1, keepdim=True) @ tables
    if along_certainty:
        padded = torch.cat((smooth[..., :1], smooth, smooth[..., -1:]), dim=-1)
        smooth = (padded[..., :-2] + 2 * smooth + padded[..., 2:]) / 4
    return smooth


def _thin(pictures: Tensor) -> Tensor:
    """Every `_PITCH`th pixel of (B, C, H, W)."""
    return pictures[:, :, ::_PITCH, ::_PITCH]


def _chroma(ab: Tensor) -> Tensor:
    """(B, 2, H, W) → (B, 1, H, W)."""
    chroma: Tensor = torch.linalg.vector_norm(ab, dim=1, keepdim=True)
    return chroma
