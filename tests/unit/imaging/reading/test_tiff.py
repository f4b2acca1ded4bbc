"""TIFFs of every kind are read rightly, or refused by name."""

import re
import struct
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from service.imaging.color import gray_to_lightness, srgb_encode
from service.imaging.errors import BrokenImageError, NoSuchPageError, UnsupportedFormatError
from service.imaging.photograph import Photograph, inspect
from tests.photographs import UPRIGHT, assert_alpha, assert_lightness, gray_lightness, read
from tests.pictures import to_bytes
from tests.profiles import LINEAR_GRAY
from tests.tiff_codecs import lzw
from tests.tiff_kinds import KINDS
from tests.tiff_samples import BLACK_IS_ZERO, PALETTE, RGB, SEPARATED, YCBCR, noise
from tests.tiffs import Layout, Page, page, tiff


@pytest.mark.parametrize("name", KINDS)
def test_what_was_written_is_seen(name: str) -> None:
    kind = KINDS[name]
    photograph = read(kind.data)
    assert_lightness(photograph, kind.lightness, kind.atol)
    if kind.alpha is None:
        assert photograph.alpha is None
    else:
        assert_alpha(photograph, kind.alpha)


FIRST, SECOND, THIRD = (np.full((6, 8, 1), level, np.uint8) for level in (50, 120, 200))


def level_of(photograph: Photograph) -> float:
    assert photograph.lightness.min() == photograph.lightness.max()
    return float(photograph.lightness[0, 0])


def lightness(level: int) -> object:
    return pytest.approx(float(gray_lightness(np.array([[level]]))[0, 0]), abs=1e-3)


def kept(samples: NDArray[np.uint8], use: int = 0, below: tuple[Page, ...] = ()) -> Page:
    """A page with a NewSubfileType."""
    return replace(page(samples, BLACK_IS_ZERO, Layout(tags={254: use})), below=below)


REDUCED, MASK = 1, 4


def test_pages_are_counted_from_1() -> None:
    data = tiff(kept(FIRST), kept(SECOND, 2), kept(THIRD, 2))
    for number, level in enumerate((50, 120, 200), 1):
        photograph = read(data, number)
        assert level_of(photograph) == lightness(level)
        assert photograph.notes[0] == f"page {number} of 3"
    assert level_of(read(data)) == lightness(50)
    with pytest.raises(NoSuchPageError, match="has 3 pages, and no page 4"):
        read(data, 4)
    with pytest.raises(NoSuchPageError, match="has 1 page, and no page 2"):
        read(tiff(kept(FIRST)), 2)


def test_a_single_page_needs_no_note() -> None:
    assert read(tiff(kept(FIRST))).notes == ()


@pytest.mark.parametrize("use", [REDUCED, MASK, REDUCED | MASK])
def test_thumbnails_and_masks_are_passed_over(use: int) -> None:
    data = tiff(kept(FIRST[:3], use), kept(SECOND))
    photograph = read(data)
    assert level_of(photograph) == lightness(120)
    assert photograph.notes == ("page 2 of 2",)
    assert level_of(read(data, 1)) == lightness(50)


def test_what_a_thumbnail_stands_for_may_lie_below_it() -> None:
    data = tiff(kept(FIRST[:3], REDUCED, (kept(SECOND, REDUCED), kept(THIRD))))
    assert level_of(read(data)) == lightness(200)
    assert level_of(read(data, 1)) == lightness(50)


def test_a_lonely_thumbnail_is_a_picture() -> None:
    assert level_of(read(tiff(kept(FIRST, REDUCED)))) == lightness(50)


def test_pages_behind_a_broken_one_are_not_there() -> None:
    data = tiff(kept(FIRST), kept(SECOND))
    (first,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, first)
    link = first + 2 + 12 * entries
    assert level_of(read(data[:link] + b"\xff\xff\xff\x7f" + data[link + 4 :])) == lightness(50)
    assert level_of(read(data[:link] + struct.pack("<I", first) + data[link + 4 :])) == lightness(50)


def test_another_kind_of_file_has_one_page() -> None:
    data = to_bytes(Image.new("L", (4, 4)), "PNG")
    assert read(data, 1).lightness.shape == (4, 4)
    with pytest.raises(NoSuchPageError, match="PNG image has one picture, and no page 2"):
        read(data, 2)


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("cut", [Layout(rows=7), Layout(tile=(16, 32))], ids=["strips", "tiles"])
@pytest.mark.parametrize("bits", [8, 16])
def test_orientation(bits: int, cut: Layout, orientation: int) -> None:
    samples = noise(bits, 2)
    layout = replace(cut, tags={274: orientation, 338: 2})
    photograph = read(tiff(page(samples, BLACK_IS_ZERO, layout)))
    stored, alpha = (UPRIGHT[orientation](samples[..., i]).copy() for i in range(2))
    assert_lightness(photograph, gray_lightness(stored, 2**bits - 1))
    assert_alpha(photograph, alpha)


@pytest.mark.parametrize("orientation", [0, 9, 65_535])
def test_orientation_that_is_none_is_left_aside(orientation: int) -> None:
    samples = noise(8)
    photograph = read(tiff(page(samples, BLACK_IS_ZERO, Layout(tags={274: orientation}))))
    assert_lightness(photograph, gray_lightness(samples[..., 0]))


def test_12_bits_in_16_that_the_file_does_not_mention_are_noted() -> None:
    samples = noise(12)
    photograph = read(tiff(page(samples, BLACK_IS_ZERO)))
    assert_lightness(photograph, gray_lightness(samples[..., 0], 65_535))
    assert photograph.notes == (f"no level is above {samples.max()} of 65535, as if fewer bits than 16 were meant",)


def test_what_is_no_number_is_black() -> None:
    samples = np.array([[[np.nan], [0.5]], [[-np.inf], [-3.0]]], np.float32)
    assert read(tiff(page(samples, BLACK_IS_ZERO))).lightness.flatten().tolist()[0::2] == [0, 0]


CFA, LINEAR_RAW, LOG_LUV, ITU_LAB, MASKED = 32803, 34892, 32845, 10, 4

WIDE = noise(16)

REFUSED: dict[str, tuple[Page, str]] = {
    "a mosaic of a camera": (page(WIDE, CFA), "a camera's raw file"),
    "a camera's linear raw": (page(noise(16, 3), LINEAR_RAW), "a camera's raw file"),
    "LogLuv": (page(noise(16, 3), LOG_LUV), "of the kind LOGLUV"),
    "ITU's CIELAB": (page(noise(8, 3), ITU_LAB), "of the kind ITULAB"),
    "a mask alone": (page(noise(1), MASKED, bits=1), "of the kind MASK"),
    "a kind of tomorrow": (page(noise(8), 4242), "of the kind 4242"),
    **{
        name: (page(noise(8), BLACK_IS_ZERO, Layout(tags={259: code})), f"compressed with {name}")
        for name, code in {"JPEGXL": 50002, "LERC": 34887, "THUNDERSCAN": 32809, "SGILOG": 34676, "4243": 4243}.items()
    },
    "no photometric interpretation": (
        replace(page(noise(8), 0), tags={k: v for k, v in page(noise(8), 0).tags.items() if k != 262}),
        "does not say what its samples are",
    ),
    "signed integers": (page(noise(16).astype(np.int16), BLACK_IS_ZERO), "of the kind INT that does not say its range"),
    "floats above 1": (
        page(noise(8).astype(np.float32), BLACK_IS_ZERO), "does not say which is white (SMaxSampleValue)"
    ),
    "complex numbers": (page(noise(64), BLACK_IS_ZERO, Layout(tags={339: 6})), "of the kind COMPLEXIEEEFP"),
    "24 bits": (page(noise(24), BLACK_IS_ZERO, bits=24), "of 24 bits"),
    "inks that are not CMYK": (page(noise(8, 4), SEPARATED, Layout(tags={332: 2})), "of the kind SEPARATED with 4"),
    "two colours": (page(noise(8, 2), RGB), "of the kind RGB with 2 samples a pixel"),
    "a third dimension": (page(noise(8), BLACK_IS_ZERO, Layout(tags={32997: 2})), "with a third dimension"),
    "a predictor of tomorrow": (
        page(noise(8), BLACK_IS_ZERO, Layout(code=lzw, tags={259: 5, 317: 7})), "with the predictor 7"
    ),
    "a predictor of 4 bits": (
        page(noise(4), BLACK_IS_ZERO, Layout(code=lzw, tags={259: 5, 317: 2}), 4), "of 4 bits with the predictor"
    ),
    "chroma in fewer samples": (page(noise(8, 3), YCBCR, Layout(tags={530: [2, 2]})), "with chroma in fewer samples"),
    "chroma in smaller planes": (
        page(noise(8, 3), YCBCR, Layout(planar=True, tags={259: 7, 530: [2, 2]})), "with chroma in fewer samples"
    ),
    "a palette of 24 bits": (
        page(noise(32), PALETTE, Layout(tags={320: [0] * 6}), 24), "with a palette of 24 bits"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_read_is_refused_by_name(name: str) -> None:
    stored, words = REFUSED[name]
    with pytest.raises(UnsupportedFormatError, match=rf"This is .*{re.escape(words)}.*not read here"):
        read(tiff(stored))


@pytest.mark.parametrize("table", [None, [0] * 30])
def test_palette_without_its_table_is_broken(table: list[int] | None) -> None:
    with pytest.raises(BrokenImageError, match="colour map"):
        read(tiff(page(noise(8), PALETTE, Layout(tags={} if table is None else {320: table}))))


def test_profiles_are_heeded_in_16_bits_too() -> None:
    levels = np.arange(0, 65_536, 16, dtype=np.uint16).reshape(64, 64, 1)
    photograph = read(tiff(page(levels, BLACK_IS_ZERO, Layout(tags={34675: LINEAR_GRAY}))))
    expected = gray_to_lightness(srgb_encode(torch.from_numpy(levels[..., 0].astype(np.float32) / 65_535)))
    assert np.unique(photograph.lightness.numpy()).size > 2500
    # Next to black this curve is steeper than straight lines between its knots can follow.
    torch.testing.assert_close(photograph.lightness[1:], expected[1:], rtol=0, atol=0.4)


def test_the_facts_are_those_of_the_page() -> None:
    pages = [page(FIRST, BLACK_IS_ZERO, Layout(tags={274: 6})), page(SECOND, BLACK_IS_ZERO, Layout(tags={274: 1}))]
    data = tiff(*pages)
    assert [inspect(data, 10**6, number).width for number in (1, 2)] == [6, 8]
