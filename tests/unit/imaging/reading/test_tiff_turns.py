"""Where TIFFs say how they are to be turned, and what goes with alpha."""

import io
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from service.imaging.errors import UnsupportedFormatError
from service.imaging.metadata.facts import orientation
from service.imaging.photograph import inspect
from tests.pictures import to_bytes

RAMP = np.add.outer(np.arange(24) * 4, np.arange(40) * 3).astype(np.uint8)


def written(pixels: NDArray[Any], **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **options)
    return file.getvalue()


@pytest.mark.parametrize("turn", range(1, 9))
def test_ycbcr_is_turned_once(turn: int) -> None:
    picture = Image.fromarray(RAMP).convert("YCbCr")
    data, plain = (to_bytes(picture, "TIFF", tiffinfo={274: number}) for number in (turn, 1))
    expected = inspect(plain, 10**6).decode().lightness.numpy()
    upright = {
        1: expected,
        2: np.fliplr(expected),
        3: np.rot90(expected, 2),
        4: np.flipud(expected),
        5: expected.T,
        6: np.rot90(expected, -1),
        7: np.rot90(expected, 2).T,
        8: np.rot90(expected),
    }
    assert np.array_equal(inspect(data, 10**6).decode().lightness.numpy(), upright[turn])


def test_a_thumbnails_facts_are_those_of_the_picture_below_it() -> None:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        tags = [(274, 3, 1, 6, True), (271, 2, 6, "Maker", True)]
        writer.write(RAMP[::4, ::4], photometric="minisblack", subfiletype=1, subifds=1, extratags=tags)
        writer.write(RAMP, photometric="minisblack", subfiletype=0)
    original = inspect(file.getvalue(), 10**6)
    assert (original.width, original.height) == (24, 40)
    assert orientation(original.facts) == 6
    assert original.facts.exif is not None
    assert original.facts.exif.text(271) == "Maker"


def test_alpha_in_a_range_of_samples_is_refused_by_name() -> None:
    gray = np.dstack((RAMP.astype(np.float32), np.ones_like(RAMP, np.float32)))
    limits = [(340, 11, 2, (0.0, 0.0), True), (341, 11, 2, (255.0, 1.0), True)]
    data = written(gray, photometric="minisblack", extrasamples=["unassalpha"], extratags=limits)
    with pytest.raises(UnsupportedFormatError, match="SMaxSampleValue"):
        inspect(data, 10**6)


def test_premultiplied_ink_is_refused_by_name() -> None:
    data = written(np.dstack((RAMP, RAMP)), photometric="miniswhite", extrasamples=["assocalpha"])
    with pytest.raises(UnsupportedFormatError, match="multiplied by alpha"):
        inspect(data, 10**6)
