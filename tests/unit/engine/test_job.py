"""From a file to the answer's file: what the network is shown, what is written and how, and what it may cost."""

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from service.engine.choice import BackboneChoice
from service.engine.job import Job
from service.engine.order import Order
from service.imaging.adjust import Adjustment
from service.imaging.errors import NoSuchPageError, TooManyPixelsError
from service.imaging.formats import ImageFormat
from service.imaging.photograph import inspect
from service.imaging.recompose import Output
from service.imaging.upsample import reduce
from service.imaging.writing.tiff import Compression
from tests.pictures import from_bytes, to_bytes

PNG, JPEG, WEBP, TIFF, AVIF = ImageFormat
ORDER = Order(BackboneChoice.MOBILENET_V2, model="1.0.0+abc")
RED = torch.tensor([40.0, 24.0, 5.0])[:, None, None].expand(3, 224, 224)
"""An answer of the network's."""


def colored(data: bytes, order: Order = ORDER, answers: Tensor = RED) -> tuple[Job, bytes]:
    """The work on a file, and what came of it, every picture in it in these colours."""
    job = Job(data, order, 10**6)
    painting = job.prepare([answers] * len(job.read()))
    painting.paint()
    painting.wait()
    return job, bytes(job.finish())


def pixels(data: bytes) -> NDArray[Any]:
    return np.asarray(from_bytes(data))


@pytest.fixture(scope="module")
def deep() -> NDArray[np.uint16]:
    """A grey photograph of 16 bits with more levels than 8 have."""
    y, x = np.mgrid[0:120, 0:160]
    levels: NDArray[np.uint16] = (20_000 + 15_000 * np.sin(x / 17) + 90 * y).astype(np.uint16)
    return levels


@pytest.fixture(scope="module")
def deep_tiff(deep: NDArray[np.uint16]) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, deep, photometric="minisblack")
    return file.getvalue()


@pytest.fixture(scope="module")
def scan() -> tuple[bytes, tuple[slice, slice]]:
    """A picture on white paper, as a PNG, and where it is."""
    y, x = np.mgrid[0:300, 0:400]
    levels = 90 + 50 * np.sin(x / 23) * np.cos(y / 31) + 25 * np.sin(x * y / 900)
    page = np.full((420, 520), 250, np.uint8)
    page += np.random.default_rng(0).integers(0, 2, page.shape, np.uint8)
    place = slice(50, 350), slice(70, 470)
    page[place] = levels.astype(np.uint8)
    return to_bytes(Image.fromarray(page), "PNG"), place


@pytest.mark.parametrize(
    ("source", "asked", "written"),
    [
        ("JPEG", {}, JPEG),
        ("BMP", {}, PNG),
        ("TIFF", {}, TIFF),
        ("AVIF", {}, AVIF),
        ("JPEG", {"format": TIFF}, TIFF),
        ("JPEG", {"accepted": {WEBP: 1.0, PNG: 0.1}}, WEBP),
        ("JPEG", {"accepted": {WEBP: 1.0}, "format": PNG}, PNG),
        ("JPEG", {"depth": 16}, PNG),
        ("TIFF", {"depth": 16}, TIFF),
        ("JPEG", {"output": Output.AB}, PNG),
        ("JPEG", {"output": Output.AB, "accepted": {JPEG: 1.0, TIFF: 0.1}}, TIFF),
    ],
)
def test_the_format_is_the_asked_for_or_else_the_most_welcome_that_can_hold_it(
    gray_photo: Image.Image, source: str, asked: dict[str, Any], written: ImageFormat
) -> None:
    job, data = colored(to_bytes(gray_photo, source), replace(ORDER, **asked))
    assert job.encoding.format is written
    assert from_bytes(data).format == written.value.upper()


@pytest.mark.parametrize("format", [PNG, TIFF])
def test_16_bits_stay_16_bits_where_the_format_has_them(
    deep: NDArray[np.uint16], deep_tiff: bytes, format: ImageFormat
) -> None:
    job, data = colored(deep_tiff, replace(ORDER, format=format, adjustment=Adjustment(strength=0)))
    assert job.encoding.depth == 16
    if format is TIFF:
        answer = tifffile.imread(io.BytesIO(data))
        assert answer.dtype == np.uint16
        assert np.abs(answer.astype(int) - deep[..., None]).max() <= 1
    else:
        assert data[24] == 16  # IHDR's bit depth


def test_8_bits_can_be_asked_for_and_are_what_other_formats_have(deep_tiff: bytes, gray_jpeg: bytes) -> None:
    for changes in ({"depth": 8}, {"format": JPEG}, {"format": AVIF}):
        assert colored(deep_tiff, replace(ORDER, **changes))[0].encoding.depth == 8
    assert colored(gray_jpeg, replace(ORDER, format=TIFF))[0].encoding.depth == 8
    assert colored(gray_jpeg, replace(ORDER, depth=16, format=TIFF))[0].encoding.depth == 16


def test_the_network_is_shown_the_picture_without_its_paper(scan: tuple[bytes, tuple[slice, slice]]) -> None:
    data, place = scan
    job = Job(data, ORDER, 10**6)
    lightness = inspect(data, 10**6).decode().lightness
    (canvas,) = job.read()
    assert (canvas - reduce(lightness[place], 224)).abs().mean() < 1
    (kept,) = Job(data, replace(ORDER, find_borders=False), 10**6).read()
    assert torch.equal(kept, reduce(lightness, 224))


def test_the_paper_stays_grey_unless_it_is_to_be_coloured(scan: tuple[bytes, tuple[slice, slice]]) -> None:
    data, place = scan
    inside = tuple(slice(side.start + 3, side.stop - 3) for side in place)
    around = np.ones((420, 520), bool)
    around[tuple(slice(side.start - 3, side.stop + 3) for side in place)] = False
    answer, kept = pixels(colored(data)[1]), pixels(colored(data, replace(ORDER, find_borders=False))[1])
    assert np.ptp(answer[around], axis=1).max() == 0
    assert np.ptp(answer[inside], axis=2).min() > 10
    assert np.ptp(kept[around].astype(int), axis=1).mean() > 1


def test_where_hints_are_the_whole_is_the_picture(scan: tuple[bytes, tuple[slice, slice]]) -> None:
    """They are places in it."""
    data, _ = scan
    hints = torch.rand(3, 224, 224)
    (canvas,) = Job(data, replace(ORDER, hints=hints), 10**6).read()
    (whole,) = Job(data, replace(ORDER, find_borders=False), 10**6).read()
    assert torch.equal(canvas, torch.cat((whole, hints)))


def test_a_longest_side_makes_the_answer_smaller_and_never_larger(gray_photo: Image.Image) -> None:
    data = to_bytes(gray_photo, "PNG")
    job, answer = colored(data, replace(ORDER, max_side=64))
    assert (job.width, job.height) == from_bytes(answer).size == (64, 48)
    assert from_bytes(colored(data, replace(ORDER, max_side=1000))[1]).size == (160, 120)
    small = np.asarray(gray_photo.resize((64, 48), Image.Resampling.BICUBIC)).astype(int)
    grey = pixels(colored(data, replace(ORDER, max_side=64, adjustment=Adjustment(strength=0)))[1])[..., 0]
    assert np.abs(grey - small).mean() < 3
    assert job.needed < Job(data, ORDER, 10**6).needed


def test_any_longest_side_is_one(gray_photo: Image.Image) -> None:
    assert Job(to_bytes(gray_photo, "PNG"), replace(ORDER, max_side=10**400), 10**6).width == 160


def test_a_format_that_cannot_hold_the_answer_is_not_chosen() -> None:
    data = to_bytes(Image.new("L", (16_384, 1)), "PNG")
    accepted = {WEBP: 1.0, ImageFormat.JPEG: 0.8}
    order = replace(ORDER, format=None, accepted=accepted)
    assert Job(data, order, 10**6).encoding.format is ImageFormat.JPEG
    assert Job(data, replace(order, max_side=16_383), 10**6).encoding.format is WEBP


def test_a_strip_keeps_a_pixel_across() -> None:
    job, data = colored(to_bytes(Image.linear_gradient("L").resize((1000, 2)), "PNG"), replace(ORDER, max_side=16))
    assert (job.width, job.height) == from_bytes(data).size == (16, 1)


def test_alpha_is_made_smaller_with_the_picture(gray_photo: Image.Image) -> None:
    picture = gray_photo.copy()
    picture.putalpha(Image.linear_gradient("L").resize(gray_photo.size))
    data = to_bytes(picture, "PNG")
    assert np.array_equal(pixels(colored(data)[1])[..., 3], np.asarray(picture)[..., 1])
    small = pixels(colored(data, replace(ORDER, max_side=80))[1])[..., 3]
    assert small.shape == (60, 80)
    assert (np.diff(small.astype(int), axis=0) >= 0).all()


def test_the_side_that_counts_is_the_answers() -> None:
    """A strip that WebP cannot hold, made so small that it can."""
    data = to_bytes(Image.new("L", (16_384, 1)), "PNG")
    with pytest.raises(TooManyPixelsError, match="16384 × 1 pixels, but webp"):
        Job(data, replace(ORDER, format=WEBP), 10**6)
    assert Job(data, replace(ORDER, format=WEBP, max_side=16_383), 10**6).width == 16_383


def test_the_colours_are_adjusted_as_asked(gray_photo: Image.Image) -> None:
    data = to_bytes(gray_photo, "PNG")

    def chroma(**changes: float) -> float:
        return float(np.ptp(pixels(colored(data, replace(ORDER, adjustment=Adjustment(**changes)))[1]), axis=2).mean())

    assert chroma(strength=0) == 0
    assert 0 < chroma(saturation=0.5) == chroma(strength=0.5) < chroma() < chroma(saturation=1.5)
    grey = RED * torch.tensor([0, 0, 1])[:, None, None]
    warm, cold = (
        pixels(colored(data, replace(ORDER, adjustment=Adjustment(warmth=warmth)), grey)[1]).astype(int)
        for warmth in (1, -1)
    )
    assert (warm[..., 0] - warm[..., 2]).mean() > 10
    assert (cold[..., 0] - cold[..., 2]).mean() < -10


def test_the_colours_alone_are_those_of_the_network_adjusted(gray_photo: Image.Image) -> None:
    data = to_bytes(gray_photo, "PNG")
    order = replace(ORDER, output=Output.AB, depth=8, adjustment=Adjustment(saturation=1.5))
    job, answer = colored(data, order)
    assert (pixels(answer) == [128 + 60, 128 + 36, 128]).all()
    deep_order = replace(order, format=TIFF, depth=None)
    levels = tifffile.imread(io.BytesIO(colored(data, deep_order)[1])).astype(int)
    assert np.abs(levels - [32_768 + 60 * 256, 32_768 + 36 * 256, 32_768]).max() <= 1
    assert job.encoding.format is PNG
    assert Job(data, deep_order, 10**6).encoding.depth == 16


@pytest.mark.parametrize(("error", "share"), [(0.0, 1.0), (10.0, 0.5), (30.0, 0.25)])
def test_the_confidence_is_a_share_of_white(gray_photo: Image.Image, error: float, share: float) -> None:
    answers = torch.tensor([40.0, 25.0, error])[:, None, None].expand(3, 224, 224)
    for depth in (8, 16):
        order = replace(ORDER, output=Output.CONFIDENCE, format=TIFF, depth=depth)
        levels = tifffile.imread(io.BytesIO(colored(to_bytes(gray_photo, "PNG"), order, answers)[1]))
        assert (levels.shape, levels.dtype) == ((120, 160), np.dtype(f"u{depth // 8}"))
        assert np.abs(levels / (2**depth - 1) - share).max() < 0.003


@pytest.mark.parametrize("output", [Output.AB, Output.CONFIDENCE])
def test_what_is_no_picture_has_no_alpha_and_no_profile(gray_photo: Image.Image, output: Output) -> None:
    picture = gray_photo.copy()
    picture.putalpha(128)
    answer = from_bytes(colored(to_bytes(picture, "PNG"), replace(ORDER, output=output, depth=8))[1])
    assert answer.mode in ("RGB", "L")
    assert "icc_profile" not in answer.info


def test_metadata_are_kept_or_stripped_and_say_how_the_answer_was_made(gray_photo: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x010E] = "Grandmother, 1931"  # ImageDescription
    data = to_bytes(gray_photo, "JPEG", exif=exif, dpi=(600, 600))
    kept, stripped = (from_bytes(colored(data, replace(ORDER, keep_metadata=keep))[1]) for keep in (True, False))
    assert kept.getexif()[0x010E] == "Grandmother, 1931"
    assert kept.info["dpi"] == (600, 600)
    assert 0x010E not in stripped.getexif()
    for answer in (kept, stripped):
        assert answer.getexif()[0x0131].startswith("Autochrome ")  # Software


def test_a_page_can_be_chosen_and_is_told_of() -> None:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for level in (60, 120, 180):
            writer.write(np.full((40, 50), level, np.uint8), photometric="minisblack")
    data = file.getvalue()
    grey = replace(ORDER, adjustment=Adjustment(strength=0))
    for page, level in ((None, 60), (1, 60), (3, 180)):
        job, answer = colored(data, replace(grey, page=page))
        assert (tifffile.imread(io.BytesIO(answer)) == level).all()
        assert job.notes == (f"page {page or 1} of 3",)
    with pytest.raises(NoSuchPageError):
        Job(data, replace(ORDER, page=4), 10**6)


@pytest.mark.parametrize("compression", Compression)
def test_a_tiff_is_compressed_as_asked(gray_photo: Image.Image, compression: Compression) -> None:
    _, data = colored(to_bytes(gray_photo, "TIFF"), replace(ORDER, compression=compression))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        assert file.pages[0].compression == compression


def test_quality_is_of_the_lossy_formats(gray_photo: Image.Image) -> None:
    for format in (JPEG, WEBP, AVIF):
        small, large = (
            len(colored(to_bytes(gray_photo, "PNG"), replace(ORDER, format=format, quality=quality))[1])
            for quality in (10, 95)
        )
        assert small < large
