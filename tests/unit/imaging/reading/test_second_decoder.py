"""What other decoders see in a TIFF is what is seen here: libtiff, through imagecodecs and through Pillow."""

from collections.abc import Callable
from io import BytesIO

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from torch import Tensor

from tests.photographs import read, rgb_lightness
from tests.tiff_kinds import ALONE, KINDS
from tests.tiff_samples import PILLOW, RGBA_8, SAMPLES, Kind

MEAN = 0.3
"""Of the differences, in L*: 8 bits of another's rounding."""


def as_rgba(kind: Kind) -> Tensor:
    rgba = imagecodecs.tiff_decode(kind.data, asrgb=True).astype(np.float64)
    assert rgba.shape[2] == 4
    if kind.alpha is None:
        return rgb_lightness(rgba[..., :3])
    # Libtiff multiplies colours by alpha.
    return rgb_lightness(np.minimum(rgba[..., :3] / np.maximum(rgba[..., 3:], 1) * 255, 255))


def as_samples(kind: Kind) -> Tensor:
    samples = imagecodecs.tiff_decode(kind.data)
    if samples.ndim == 2:
        samples = samples[..., None]
    if samples.shape != kind.samples.shape:  # plane after plane
        samples = np.moveaxis(samples, 0, -1)
    return kind.shown(samples)


def by_pillow(kind: Kind) -> Tensor:
    return rgb_lightness(np.asarray(Image.open(BytesIO(kind.data)).convert("RGB")))


DECODERS: dict[str, Callable[[Kind], Tensor]] = {RGBA_8: as_rgba, SAMPLES: as_samples, PILLOW: by_pillow}

PAIRS = [(name, decoder) for name, kind in KINDS.items() for decoder in kind.seen_by]


@pytest.mark.parametrize(("name", "decoder"), PAIRS)
def test_another_decoder_sees_the_same(name: str, decoder: str) -> None:
    kind = KINDS[name]
    theirs, ours = DECODERS[decoder](kind), read(kind.data)
    difference = (theirs - ours.lightness).abs()
    if ours.alpha is not None:  # what little is left of colours below is more rounding than colour
        difference = difference[ours.alpha.numpy() > np.iinfo(ours.alpha.numpy().dtype).max // 4]
    assert difference.mean() <= MEAN


def test_all_others_are_named() -> None:
    assert {name for name, kind in KINDS.items() if not kind.seen_by} == ALONE
