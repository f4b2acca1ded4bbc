"""Every kind of file that is read gives upright lightness and alpha."""

import gc
import sys
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image

from service.imaging.color import gray_to_lightness, srgb_encode
from service.imaging.errors import BrokenImageError, TooManyPixelsError, UnsupportedFormatError
from service.imaging.formats import ImageFormat
from service.imaging.photograph import Photograph, inspect
from service.imaging.profile import SRGB_BYTES
from service.imaging.reading import lightness
from tests.photographs import UPRIGHT, assert_alpha, assert_lightness, gray_lightness, read, rgb_lightness
from tests.pictures import to_bytes
from tests.profiles import LINEAR_GRAY, ONLY_BLACK_INK, SWAPPED_RGB

RANDOM = np.random.default_rng(0)
GRAY = RANDOM.integers(0, 256, (24, 40), dtype=np.uint8)
RGB = RANDOM.integers(0, 256, (24, 40, 3), dtype=np.uint8)
ALPHA = RANDOM.integers(0, 256, (24, 40), dtype=np.uint8)


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("JPEG", ImageFormat.JPEG),
        ("WEBP", ImageFormat.WEBP),
        ("PNG", ImageFormat.PNG),
        ("TIFF", ImageFormat.TIFF),
        ("AVIF", ImageFormat.AVIF),
        ("JPEG2000", ImageFormat.TIFF),
        ("BMP", ImageFormat.PNG),
        ("GIF", ImageFormat.PNG),
    ],
)
def test_every_format_is_read_and_has_one_that_it_is_answered_in(name: str, format: ImageFormat) -> None:
    smooth = np.add.outer(np.arange(24), np.arange(40)).astype(np.uint8) * 3
    original = inspect(to_bytes(Image.fromarray(smooth), name), 10**6)
    assert original.format is format
    assert (original.width, original.height, original.pixels) == (40, 24, 960)
    assert (original.transparent, original.depth) == (False, 8)
    photograph = original.decode()
    assert photograph.alpha is None
    assert photograph.notes == ()
    assert photograph.lightness.dtype == torch.float32
    assert_lightness(photograph, gray_lightness(smooth), atol=3 if name in ("JPEG", "WEBP", "AVIF") else 1e-3)


def test_8_bit_grey_is_exact() -> None:
    assert torch.equal(read(to_bytes(Image.fromarray(GRAY), "PNG")).lightness, gray_lightness(GRAY))


@pytest.mark.parametrize("name", ["PNG", "TIFF", "BMP"])
def test_rgb_is_the_same_in_strips_as_whole(name: str) -> None:
    rgb = RANDOM.integers(0, 256, (501, 1100, 3), dtype=np.uint8)
    assert_lightness(read(to_bytes(Image.fromarray(rgb), name)), rgb_lightness(rgb))


@pytest.mark.parametrize(("height", "width"), [(1, 3000), (3000, 1), (1, 1)])
@pytest.mark.parametrize("name", ["PNG", "TIFF"])
def test_extreme_shapes(name: str, height: int, width: int) -> None:
    gray = np.resize(GRAY, (height, width))
    assert_lightness(read(to_bytes(Image.fromarray(gray), name)), gray_lightness(gray))


@pytest.mark.parametrize("name", ["TIFF", "JPEG"])
def test_cmyk_goes_through_its_profile(name: str) -> None:
    image = Image.new("CMYK", (40, 24), (255, 255, 255, 51))
    assert_lightness(read(to_bytes(image, name)), torch.zeros(24, 40))
    photograph = read(to_bytes(image, name, icc_profile=ONLY_BLACK_INK))
    assert_lightness(photograph, torch.full((24, 40), 80.0), atol=0.5)


@pytest.mark.parametrize("name", ["PNG", "TIFF", "WEBP", "AVIF"])
def test_rgb_goes_through_its_profile(name: str) -> None:
    red, blue = (rgb_lightness(np.array([[color]])).item() for color in ([255, 0, 0], [0, 0, 255]))
    image = Image.new("RGB", (8, 8), "red")
    lossless: dict[str, dict[str, Any]] = {"WEBP": {"lossless": True}, "AVIF": {"quality": 100}}
    options = lossless.get(name, {})
    assert_lightness(read(to_bytes(image, name, **options)), torch.full((8, 8), red), atol=0.5)
    data = to_bytes(image, name, icc_profile=SWAPPED_RGB, **options)
    assert_lightness(read(data), torch.full((8, 8), blue), atol=0.7)


def test_a_palette_goes_through_its_profile() -> None:
    blue = rgb_lightness(np.array([[[0, 0, 255]]])).item()
    data = to_bytes(Image.new("RGB", (2, 2), "red").quantize(4), "PNG", icc_profile=SWAPPED_RGB)
    assert_lightness(read(data), torch.full((2, 2), blue), atol=0.5)


def test_grey_goes_through_its_profile_and_keeps_alpha() -> None:
    gray = np.arange(256, dtype=np.uint8)[None]
    expected = gray_to_lightness(srgb_encode(torch.from_numpy(gray / np.float32(255))))
    image = Image.merge("LA", [Image.fromarray(gray), Image.fromarray(gray)])
    photograph = read(to_bytes(image, "PNG", icc_profile=LINEAR_GRAY))
    assert_lightness(photograph, expected, atol=0.3)
    assert_alpha(photograph, gray)


@pytest.mark.parametrize("icc", [b"no profile", SRGB_BYTES[:300], LINEAR_GRAY, bytes(200)])
def test_unusable_profile_counts_as_srgb(icc: bytes) -> None:
    assert_lightness(read(to_bytes(Image.fromarray(RGB), "PNG", icc_profile=icc)), rgb_lightness(RGB))


def test_profiles_of_an_odd_size_are_not_kept() -> None:
    """They come from clients, and would be in memory for ever."""
    kept = lightness._tone_curve.cache_info().currsize
    photograph = read(to_bytes(Image.new("L", (4, 4), 90), "PNG", icc_profile=bytes(100_000)))
    assert photograph.lightness.shape == (4, 4)
    assert lightness._tone_curve.cache_info().currsize == kept


def test_sepia_leaves_only_its_lightness() -> None:
    sepia = np.stack([GRAY, GRAY * 0.8, GRAY * 0.6], axis=2).astype(np.uint8)
    assert_lightness(read(to_bytes(Image.fromarray(sepia), "PNG")), rgb_lightness(sepia))


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize(("name", "options"), [("JPEG", {"quality": 100}), ("PNG", {}), ("TIFF", {}), ("WEBP", {})])
def test_exif_orientation(name: str, options: dict[str, Any], orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    stored = np.kron(GRAY[:2, :3], np.ones((8, 8), np.uint8))
    original = inspect(to_bytes(Image.fromarray(stored), name, exif=exif, **options), 10**6)
    expected = gray_lightness(UPRIGHT[orientation](stored).copy())
    assert (original.height, original.width) == expected.shape
    assert_lightness(original.decode(), expected, atol=8 if name == "WEBP" else 1)


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_orientation_turns_alpha_and_16_bits_too(dtype: type[np.generic], orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    gray = GRAY.astype(dtype) * (257 if dtype is np.uint16 else 1)
    photograph = read(to_bytes(Image.fromarray(gray), "PNG", exif=exif, transparency=int(gray[0, 0])))
    upright = UPRIGHT[orientation](GRAY).copy()
    assert_lightness(photograph, gray_lightness(upright))
    assert_alpha(photograph, ((upright != GRAY[0, 0]) * (255 if dtype is np.uint8 else 65_535)).astype(dtype))


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "exif", [b"Exif\0\0", b"Exif\0\0garbage!", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\1"]
)
def test_broken_exif_is_ignored(name: str, exif: bytes) -> None:
    assert read(to_bytes(Image.fromarray(RGB), name, exif=exif)).lightness.shape == (24, 40)


def test_shrunk() -> None:
    alpha = np.kron(np.array([[0, 65_535]], np.uint16), np.ones((8, 8), np.uint16))
    photograph = Photograph(torch.full((8, 16), 40.0), torch.from_numpy(alpha), ("a note",))
    smaller = photograph.shrunk(4, 2)
    assert smaller.lightness.shape == (2, 4)
    torch.testing.assert_close(smaller.lightness, torch.full((2, 4), 40.0))
    assert smaller.alpha is not None
    assert smaller.alpha.dtype == torch.uint16
    assert smaller.alpha[:, 0].tolist() == [0, 0]
    assert smaller.alpha[:, 3].tolist() == [65_535] * 2
    assert smaller.notes == ("a note",)


def test_what_is_transparent_leaves_no_fringe_where_it_is_made_smaller() -> None:
    """White beside black that cannot be seen."""
    seen = torch.arange(16).expand(8, 16) < 7
    smaller = Photograph(seen * 100.0, seen.to(torch.uint8) * 255).shrunk(4, 2)
    assert smaller.alpha is not None
    assert 0 < smaller.alpha[0, 1] < 255
    torch.testing.assert_close(smaller.lightness[:, :2], torch.full((2, 2), 100.0))


def test_pixel_limit_is_inclusive() -> None:
    data = to_bytes(Image.fromarray(GRAY), "PNG")
    assert inspect(data, max_pixels=24 * 40).decode().lightness.numel() == 960
    with pytest.raises(TooManyPixelsError, match=r"PNG image declares 40 × 24 pixels; at most 959 pixels"):
        inspect(data, max_pixels=959)


def test_pixel_limit_is_told_before_decoding() -> None:
    data = to_bytes(Image.fromarray(RGB), "JPEG")
    with pytest.raises(TooManyPixelsError):
        inspect(data[: data.index(b"\xff\xda") + 14], max_pixels=1)


def test_a_side_that_is_out_of_proportion_is_refused() -> None:
    """Few pixels, but what is enlarged along such a side would take gigabytes."""
    with pytest.raises(TooManyPixelsError, match="65535 a side"):
        inspect(to_bytes(Image.new("L", (1, 70_000)), "PNG"), 10**6)


@pytest.mark.parametrize(("data", "found"), [(b"just text", "b'just text'"), (b"", "empty")])
def test_unknown_format_says_what_was_found_and_what_is_accepted(data: bytes, found: str) -> None:
    accepted = "JPEG, PNG, WebP, AVIF, HEIC, JPEG 2000, BMP, GIF, TIFF"
    with pytest.raises(UnsupportedFormatError, match=f"{found}.*accepted are {accepted}"):
        read(data)


def test_truncated_file_is_broken() -> None:
    with pytest.raises(BrokenImageError, match="JPEG image is incomplete"):
        read(to_bytes(Image.fromarray(RGB), "JPEG")[:-200])
    with pytest.raises(BrokenImageError, match="PNG image is damaged or incomplete"):
        read(to_bytes(Image.fromarray(RGB), "PNG")[:-200])


@pytest.mark.parametrize("error", [MemoryError, TypeError])
def test_what_is_no_fault_of_the_file_is_not_called_one(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: object) -> NDArray[Any]:
        raise error

    original = inspect(to_bytes(Image.fromarray(GRAY), "PNG"), 10**6)
    monkeypatch.setattr("service.imaging.photograph.lightness_reader", lambda _: fails)
    with pytest.raises(error):
        original.decode()


def test_facts_come_along() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "Main street"
    original = inspect(to_bytes(Image.fromarray(GRAY), "JPEG", exif=exif), 10**6)
    assert original.facts.exif is not None
    assert original.facts.exif.text(ExifTags.Base.ImageDescription) == "Main street"


def test_memory_grows_with_pixels_channels_and_depth() -> None:
    small, large = (inspect(to_bytes(Image.new("RGB", (side, side)), "PNG"), 10**6) for side in (10, 20))
    assert (large.kept_bytes, large.decoder_bytes) == (4 * small.kept_bytes, 4 * small.decoder_bytes)
    alpha = inspect(to_bytes(Image.new("RGBA", (10, 10)), "PNG"), 10**6)
    assert (alpha.kept_bytes, alpha.decoder_bytes) == (small.kept_bytes + 100, small.decoder_bytes)


def test_pixels_are_decoded_once() -> None:
    original = inspect(to_bytes(Image.new("RGB", (10, 10)), "PNG"), 10**6)
    original.decode()
    with pytest.raises(BrokenImageError):
        original.decode()


@pytest.mark.parametrize(("name", "options"), [("PNG", {}), ("TIFF", {"compression": "jpeg"}), ("AVIF", {})])
def test_no_circle_keeps_the_file(name: str, options: dict[str, Any]) -> None:
    """Files are large, and the next collection may be far."""
    data = to_bytes(Image.new("RGB", (64, 64)), name, **options)
    inspect(data, 10**6).decode()  # fills caches
    gc.collect()
    gc.disable()
    try:
        held = sys.getrefcount(data)
        inspect(data, 10**6)
        inspect(data, 10**6).decode()
        assert sys.getrefcount(data) == held
    finally:
        gc.enable()
