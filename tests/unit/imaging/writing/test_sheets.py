"""Whoever puts which band when, the file is the same; and no file is made of bands that are not all there."""

import os
import threading
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin

from service.imaging.writing.png import PngSheet
from service.imaging.writing.sheets import Layout, Sheet
from service.imaging.writing.tiff import Compression, TiffSheet
from service.imaging.writing.whole import AvifSheet, JpegSheet, WebpSheet
from tests.pictures import band_of, from_bytes, random_pixels, to_bytes, written

BANDED: dict[str, Callable[[Layout], Sheet]] = {
    "png": PngSheet,
    **{f"tiff {way.name}": partial(TiffSheet, compression=way) for way in Compression},
}
LOSSY = {"jpeg": JpegSheet, "webp": WebpSheet, "avif": AvifSheet}
SHEETS: dict[str, Callable[[Layout], Sheet]] = BANDED | {
    name: partial(sheet, quality=90) for name, sheet in LOSSY.items()
}

LAYOUT = Layout(60, 70, 3, 8, 8)


def scene(channels: int) -> NDArray[np.uint8]:
    """Something smooth, which lossy formats keep; alpha goes from transparent to opaque."""
    x, y = np.meshgrid(np.linspace(0, 1, 60), np.linspace(0, 1, 70))
    planes = [100 + 100 * np.sin(3 * x), 120 + 100 * np.cos(4 * y), 128 + 60 * np.sin(2 * x + 3 * y), 255 * x]
    return np.stack(planes[:channels], axis=-1).astype(np.uint8)


every_sheet = pytest.mark.parametrize("sheet", SHEETS.values(), ids=SHEETS)
every_lossy = pytest.mark.parametrize("sheet", LOSSY.values(), ids=LOSSY)


@every_sheet
@pytest.mark.parametrize("channels", [3, 4])
def test_two_threads_in_any_order_make_the_same_file(sheet: Callable[[Layout], Sheet], channels: int) -> None:
    layout = Layout(60, 70, channels, 8, 8)
    pixels = random_pixels(layout)
    shared = sheet(layout)
    together = threading.Barrier(2)

    def put(indices: range) -> None:
        for index in reversed(indices):
            together.wait(10)
            band = band_of(layout, pixels, index).copy()
            shared.put(index, band)
            band[:] = 0  # what is put may change afterwards

    with ThreadPoolExecutor() as threads:
        for thread in [threads.submit(put, range(start, 8, 2)) for start in (0, 1)]:
            thread.result()
    # Band 8 is the last one, of 6 rows.
    shared.put(8, band_of(layout, pixels, 8))
    assert bytes(shared.finish()) == written(sheet(layout), pixels)


@every_sheet
def test_a_missing_band_is_no_file(sheet: Callable[[Layout], Sheet]) -> None:
    begun, pixels = sheet(LAYOUT), random_pixels(LAYOUT)
    for index in (8, 7, 5, 4, 3, 2, 1, 0):
        begun.put(index, band_of(LAYOUT, pixels, index))
    with pytest.raises(ValueError, match="1 of 9 bands are missing"):
        begun.finish()
    begun.put(6, band_of(LAYOUT, pixels, 6))
    assert bytes(begun.finish()) == written(sheet(LAYOUT), pixels)
    with pytest.raises(ValueError, match="finished before"):
        begun.finish()


@every_sheet
def test_what_is_no_band_is_refused(sheet: Callable[[Layout], Sheet]) -> None:
    begun, pixels = sheet(LAYOUT), random_pixels(LAYOUT)
    begun.put(2, pixels[16:24])
    with pytest.raises(ValueError, match="put before"):
        begun.put(2, pixels[16:24])
    for index in (-1, 9):
        with pytest.raises(ValueError, match=f"there is no band {index} of 9"):
            begun.put(index, pixels[:8])
    for wrong in (pixels[:6], pixels[:8, :59], pixels[:8, :, :2], pixels[:8].astype(np.uint16), pixels[:8].astype(int)):
        with pytest.raises(ValueError, match="band 0 is"):
            begun.put(0, wrong)
    with pytest.raises(ValueError, match="band 8 is"):
        begun.put(8, pixels[:8])
    # None of these counts as put.
    for index in (0, 1, 3, 4, 5, 6, 7, 8):
        begun.put(index, band_of(LAYOUT, pixels, index))
    assert bytes(begun.finish()) == written(sheet(LAYOUT), pixels)


@pytest.mark.parametrize(
    "numbers",
    [(0, 1, 3, 8, 8), (1, 0, 3, 8, 8), (1, 1, 0, 8, 8), (1, 1, 5, 8, 8), (1, 1, 3, 12, 8), (1, 1, 3, 8, 0)],
)
def test_what_is_no_layout_is_refused(numbers: tuple[int, int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="is no layout"):
        Layout(*numbers)


def test_bands_without_bounds_are_refused() -> None:
    with pytest.raises(ValueError, match="too large"):
        Layout(2**16, 2**16, 4, 16, 2**12)


@pytest.mark.parametrize("sheet", BANDED.values(), ids=BANDED)
def test_no_more_is_in_memory_than_the_file_and_a_band(sheet: Callable[[Layout], Sheet]) -> None:
    layout = Layout(2000, 1600, 3, 16, 32)
    band = random_pixels(Layout(2000, 32, 3, 16, 32))
    written(sheet(Layout(2000, 64, 3, 16, 32)), np.concatenate((band, band)))  # what is imported at first use
    tracemalloc.start()
    try:
        begun = sheet(layout)
        for index in range(layout.bands):
            begun.put(index, band)
        size = len(begun.finish())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size > 0.9 * layout.row_bytes * layout.height
    # A growing file is given up to an eighth more than it needs.
    assert peak < 1.15 * size + 8 * band.nbytes


@every_lossy
@pytest.mark.parametrize("layout", [Layout(60, 70, 3, 16, 8), Layout(60, 70, 1, 8, 8), Layout(60, 70, 2, 8, 8)])
def test_lossy_formats_refuse_what_they_cannot_hold(sheet: type[JpegSheet | WebpSheet], layout: Layout) -> None:
    with pytest.raises(ValueError, match="only RGB in 8 bits"):
        sheet(layout, 90)


@every_lossy
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 50), (50, 1), (70, 60)])
def test_lossy_formats_keep_the_picture(sheet: type[JpegSheet | WebpSheet], height: int, width: int) -> None:
    pixels = np.ascontiguousarray(scene(3)[:height, :width])
    image = from_bytes(written(sheet(Layout(width, height, 3, 8, 8), 90), pixels))
    assert image.mode == "RGB"
    assert np.abs(np.asarray(image).astype(int) - pixels).mean() < 3


@every_lossy
def test_quality_is_what_it_says(sheet: type[JpegSheet | WebpSheet]) -> None:
    pixels = scene(3) + random_pixels(LAYOUT) // 8
    sizes = [len(written(sheet(LAYOUT, quality), pixels)) for quality in (10, 50, 90)]
    assert sizes[0] < sizes[1] < sizes[2]


@pytest.mark.parametrize("sheet", [WebpSheet, AvifSheet])
def test_alpha_is_kept(sheet: type[WebpSheet]) -> None:
    pixels = scene(4)
    image = from_bytes(written(sheet(Layout(60, 70, 4, 8, 8), 90), pixels))
    assert image.mode == "RGBA"
    assert np.abs(np.asarray(image)[..., 3].astype(int) - pixels[..., 3]).max() < 8


def test_jpeg_is_blended_over_white() -> None:
    pixels = scene(4)
    alpha = pixels[..., 3:] / 255
    paper = pixels[..., :3] * alpha + 255 * (1 - alpha)
    image = from_bytes(written(JpegSheet(Layout(60, 70, 4, 8, 8), 95), pixels))
    assert np.abs(np.asarray(image) - paper).mean() < 3


def test_jpeg_keeps_chroma_at_full_resolution() -> None:
    image = from_bytes(written(JpegSheet(LAYOUT, 90), scene(3)))
    assert isinstance(image, JpegImagePlugin.JpegImageFile)
    assert JpegImagePlugin.get_sampling(image) == 0


def test_avif_keeps_chroma_at_full_resolution() -> None:
    """The codec's configuration box, av1C, tells: chroma is halved neither across nor down."""
    data = written(AvifSheet(LAYOUT, 90), scene(3))
    flags = data[data.index(b"av1C") + 6]
    assert flags & 0b1100 == 0


def test_a_jpeg_in_bands_is_the_same_as_whole() -> None:
    pixels = random_pixels(LAYOUT)
    whole = to_bytes(Image.fromarray(pixels), "JPEG", quality=90, subsampling="4:4:4")
    assert written(JpegSheet(LAYOUT, 90), pixels) == whole


@every_lossy
def test_files_outlive_their_sheet_and_need_no_file_in_memory(
    sheet: type[JpegSheet | WebpSheet], monkeypatch: pytest.MonkeyPatch
) -> None:
    def file() -> memoryview:
        begun = sheet(LAYOUT, 90)
        for index in range(LAYOUT.bands):
            begun.put(index, band_of(LAYOUT, scene(3), index))
        return begun.finish()

    usual = file()
    monkeypatch.delattr(os, "memfd_create", raising=False)
    assert bytes(usual) == bytes(file())
    assert from_bytes(bytes(usual)).size == (60, 70)


def test_metadata_of_jpeg() -> None:
    exif = Image.Exif()
    exif[315] = "A photographer"
    segment: Any = exif.tobytes()
    segment = b"\xff\xe1" + (2 + len(segment)).to_bytes(2, "big") + segment
    comment = b"\xff\xfe\x00\x06text"
    image = from_bytes(written(JpegSheet(LAYOUT, 90, b"a profile", segment + comment), scene(3)))
    assert image.info["icc_profile"] == b"a profile"
    assert image.getexif()[315] == "A photographer"
    assert image.info["comment"] == b"text"


@pytest.mark.parametrize("sheet", [WebpSheet, AvifSheet])
def test_metadata_of_webp_and_avif(sheet: type[WebpSheet]) -> None:
    exif = Image.Exif()
    exif[315] = "A photographer"
    structure = exif.tobytes().removeprefix(b"Exif\0\0")
    profile = bytes(128)
    image = from_bytes(written(sheet(LAYOUT, 90, profile, structure, b"<x:xmpmeta/>"), scene(3)))
    assert image.info["icc_profile"] == profile
    assert image.getexif()[315] == "A photographer"
    assert image.info["xmp"] == b"<x:xmpmeta/>"
