"""Faces: skin against the truth, by its tone, so that none is served worse than another."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from service.imaging import color
from training.measure import metrics
from training.measure.answers import GREY
from training.measure.bootstrap import Bootstrap, Key, quantile
from training.measure.pictures import THUMBNAIL, ContactSheets
from training.measure.scores import TRUTH, Scores
from training.photos.faces import Box

TONES = {"light": 41.0, "intermediate": 28.0, "tan": 10.0, "dark": -90.0}
"""Groups of skin and the angle each begins above, in degrees.

Chardon, Cretois and Hourseau 1991, "Skin colour typology and suntanning pathways"; their two lightest and their two
darkest groups are one each.
"""

ALL, LARGE, SMALL = "all", "large", "small"

LARGE_SIDE = 1 / 5
"""A box is large whose longer side is at least this share of the picture's shorter one."""

SHEET_FACES = 60
"""Faces on the contact sheets, spread evenly over the set."""

_MARGIN = 0.2  # of the box, on each side: hair and background
_SKIN_HUES = (20.0, 90.0)  # degrees
_SKIN_CHROMA = 8.0
_SKIN_LIGHTNESS = 12.0
_SKIN_SHARE = 0.3  # of the shrunk box, or it is not counted: sunglasses, coloured light


class FaceGroup(TypedDict):
    """How many faces, and the figures by row, with intervals over faces."""

    faces: int
    scores: Scores


FaceScores = dict[str, FaceGroup]
"""By group: `ALL`, `LARGE`, `SMALL` and those of `TONES`, as far as there are faces in them."""


class FaceBoard:
    """Collects figures of faces, photograph by photograph; no picture is kept."""

    def __init__(self, rows: Sequence[str], sheets: ContactSheets | None, faces: int) -> None:
        """`rows`: whose answers are measured; `sheets`: where some of the `faces` that will come are shown."""
        self._rows = rows
        self._sheets = sheets
        self._shown = set(torch.linspace(0, max(0, faces - 1), min(SHEET_FACES, faces)).round().int().tolist())
        self._seen = 0
        self._groups: dict[str, list[int]] = {group: [] for group in (ALL, *TONES, LARGE, SMALL)}
        self._figures: dict[Key, list[float]] = defaultdict(list)

    def add(self, pictures: Mapping[str, Tensor], faces: Sequence[Box]) -> None:
        """The faces of one photograph: uint8 sRGB (3, H, W) by row, `GREY` and `TRUTH` among them."""
        for face in faces:
            self._add_face(pictures, face)
            if self._sheets is not None and self._seen in self._shown:
                self._sheets.add({row: _window(picture, face) for row, picture in pictures.items()})
            self._seen += 1

    def scores(self) -> FaceScores:
        """Of every group with faces. Chroma and hue are those of the mean colour of a face's skin."""
        figures = {key: np.array(values) for key, values in self._figures.items()}
        scores: FaceScores = {}
        for group, members in self._groups.items():
            if members:
                chosen = {key: values[members] for key, values in figures.items()}
                scores[group] = {"faces": len(members), "scores": self._group_scores(chosen)}
        return scores

    def _group_scores(self, figures: dict[Key, NDArray[np.float64]]) -> Scores:
        bootstrap = Bootstrap(figures)
        scores: Scores = {}
        for row in self._rows:
            ratios = figures[row, "chroma"] / figures[TRUTH, "chroma"]
            scores[row] = {
                "ciede2000_ratio_to_grey": bootstrap.ratio((row, "ciede2000"), (GREY, "ciede2000")),
                "chroma_ratio": bootstrap.ratio((row, "chroma"), (TRUTH, "chroma")),
                "chroma_ratio_p10": quantile(ratios, 0.1),
                "chroma_ratio_p50": quantile(ratios, 0.5),
                "chroma_ratio_p90": quantile(ratios, 0.9),
                "hue_error": bootstrap.mean((row, "hue_error")),
            }
        return scores

    def _add_face(self, pictures: Mapping[str, Tensor], face: Box) -> None:
        inside = _middle(face, pictures[TRUTH])
        true_lab = _lab(pictures[TRUTH][inside])
        skin = _skin(true_lab)
        if skin.numel() == 0 or skin.float().mean() < _SKIN_SHARE:
            return
        truth = true_lab[:, skin]
        number = len(self._groups[ALL])
        for group in (ALL, _tone(truth), _size(face, pictures[TRUTH])):
            self._groups[group].append(number)
        _, true_a, true_b = truth.mean(dim=1).tolist()
        self._figures[TRUTH, "chroma"].append(math.hypot(true_a, true_b))
        for row in (*self._rows, GREY):
            lab = _lab(pictures[row][inside])[:, skin]
            _, a, b = lab.mean(dim=1).tolist()
            # CIEDE2000 takes pictures: here one of a single line.
            difference = metrics.ciede2000(lab[:, None], truth[:, None]).mean().item()
            turn = math.degrees(math.atan2(b, a) - math.atan2(true_b, true_a))
            self._figures[row, "ciede2000"].append(difference)
            self._figures[row, "chroma"].append(math.hypot(a, b))
            self._figures[row, "hue_error"].append(abs((turn + 180) % 360 - 180))


def _skin(lab: Tensor) -> Tensor:
    """Where a colour (3, h, w) can be skin's: (h, w)."""
    lightness, a, b = lab
    hue = torch.rad2deg(torch.atan2(b, a))
    skin: Tensor = (hue > _SKIN_HUES[0]) & (hue < _SKIN_HUES[1]) & (lightness > _SKIN_LIGHTNESS)
    return skin & (torch.hypot(a, b) >= _SKIN_CHROMA)


def _tone(skin: Tensor) -> str:
    """The group of true skin (3, N), after its individual typology angle."""
    lightness, _, b = skin.median(dim=1).values.tolist()
    angle = math.degrees(math.atan2(lightness - 50, b))
    return next(tone for tone, least in TONES.items() if angle > least)


def _size(face: Box, picture: Tensor) -> str:
    left, top, right, bottom = face
    _, height, width = picture.shape
    side = max((right - left) * width, (bottom - top) * height)
    return LARGE if side >= LARGE_SIDE * min(height, width) else SMALL


def _middle(face: Box, picture: Tensor) -> tuple[slice, slice, slice]:
    """The middle 60 % of a box, in pixels."""
    left, top, right, bottom = face
    _, height, width = picture.shape
    across, down = _MARGIN * (right - left), _MARGIN * (bottom - top)
    return (
        slice(None),
        slice(round((top + down) * height), round((bottom - down) * height)),
        slice(round((left + across) * width), round((right - across) * width)),
    )


def _window(picture: Tensor, face: Box) -> Tensor:
    """A contact sheet's thumbnail of a face, at the size it has in the picture, (3, H, W)."""
    left, top, right, bottom = face
    _, height, width = picture.shape
    y = round((top + bottom) / 2 * height - THUMBNAIL / 2)
    x = round((left + right) / 2 * width - THUMBNAIL / 2)
    y, x = max(0, min(y, height - THUMBNAIL)), max(0, min(x, width - THUMBNAIL))
    return picture[:, y : y + THUMBNAIL, x : x + THUMBNAIL]


def _lab(rgb: Tensor) -> Tensor:
    return color.rgb_to_lab(rgb.float() / 255)
