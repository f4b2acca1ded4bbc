"""Every kind of file that is read gives upright lightness and alpha; what is written can be read by anybody."""

import struct
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image, JpegImagePlugin
from torch import Tensor

from service.imaging import codec
from service.imaging.codec import (
    BrokenImageError,
    ImageFormat,
    Photograph,
    TooManyPixelsError,
    UnsupportedFormatError,
    decode,
    encode,
    inspect,
)
from service.imaging.color import gray_to_lightness, rgb_to_lightness, srgb_encode
from tests.pictures import to_bytes

RANDOM = np.random.default_rng(0)
GRAY = RANDOM.integers(0, 256, (24, 40), dtype=np.uint8)
RGB = RANDOM.integers(0, 256, (24, 40, 3), dtype=np.uint8)
ALPHA = RANDOM.integers(0, 256, (24, 40), dtype=np.uint8)


def read(data: bytes) -> Photograph:
    return decode(data, max_pixels=1_000_000)


def gray_lightness(gray: NDArray[Any]) -> Tensor:
    """8-bit grey → L*."""
    return gray_to_lightness(torch.from_numpy(gray.astype(np.float32)) / 255)


def rgb_lightness(rgb: NDArray[Any]) -> Tensor:
    """8-bit RGB (H, W, 3) → L*."""
    return rgb_to_lightness(torch.from_numpy(rgb.astype(np.float32)).permute(2, 0, 1) / 255)[0]


def assert_lightness(photograph: Photograph, expected: Tensor, atol: float = 1e-3) -> None:
    torch.testing.assert_close(photograph.lightness, expected, rtol=0, atol=atol)


def icc_profile(space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    """A minimal ICC version 2 profile."""
    white = struct.pack(">3I", 0xF6D6, 0x10000, 0xD32D)
    tags = {b"wtpt": b"XYZ \0\0\0\0" + white} | {name: value + bytes(-len(value) % 4) for name, value in tags.items()}
    table, body = struct.pack(">I", len(tags)), b""
    for name, value in tags.items():
        table += name + struct.pack(">2I", 132 + 12 * len(tags) + len(body), len(value))
        body += value
    header = bytes(4) + struct.pack(">I", 0x0240_0000) + b"mntr" + space + connection + bytes(12) + b"acsp"
    header = struct.pack(">I", 128 + len(table) + len(body)) + header + bytes(28) + white
    return header.ljust(128, b"\0") + table + body


LINEAR_GRAY = icc_profile(b"GRAY", b"XYZ ", {b"kTRC": b"curv" + bytes(4) + struct.pack(">IH", 1, 0x0100)})

# A CMYK profile in which only black ink darkens: L* = 100 · (1 − K).
ONLY_BLACK_INK = icc_profile(
    b"CMYK",
    b"Lab ",
    {
        b"A2B0": b"mft1" + bytes(4) + bytes((4, 3, 2, 0))
        + struct.pack(">9I", 65_536, 0, 0, 0, 65_536, 0, 0, 0, 65_536)
        + bytes(range(256)) * 4
        + bytes((255, 128, 128, 0, 128, 128)) * 8
        + bytes(range(256)) * 3
    },
)  # fmt: skip

# sRGB with its red and blue primaries exchanged.
SWAPPED_RGB = codec._SRGB_BYTES.replace(b"rXYZ", b"----").replace(b"bXYZ", b"rXYZ").replace(b"----", b"bXYZ")


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("JPEG", ImageFormat.JPEG),
        ("WEBP", ImageFormat.WEBP),
        ("PNG", ImageFormat.PNG),
        ("TIFF", ImageFormat.PNG),
        ("BMP", ImageFormat.PNG),
        ("GIF", ImageFormat.PNG),
    ],
)
def test_every_format_is_read_and_has_an_output_format(name: str, format: ImageFormat) -> None:
    smooth = np.add.outer(np.arange(24), np.arange(40)).astype(np.uint8) * 3
    photograph = read(to_bytes(Image.fromarray(smooth), name))
    assert photograph.format is format
    assert photograph.alpha is None
    assert photograph.lightness.dtype == torch.float32
    assert_lightness(photograph, gray_lightness(smooth), atol=3 if name in ("JPEG", "WEBP") else 1e-3)


def test_8_bit_grey_is_exact() -> None:
    assert torch.equal(read(to_bytes(Image.fromarray(GRAY), "PNG")).lightness, gray_lightness(GRAY))


def test_rgb_is_the_same_in_strips_as_whole() -> None:
    rgb = RANDOM.integers(0, 256, (501, 700, 3), dtype=np.uint8)
    assert rgb[..., 0].size > 2 * codec._STRIP_PIXELS
    assert_lightness(read(to_bytes(Image.fromarray(rgb), "PNG", compress_level=1)), rgb_lightness(rgb))


@pytest.mark.parametrize(("height", "width"), [(1, 3000), (3000, 1), (1, 1)])
def test_extreme_shapes(height: int, width: int) -> None:
    gray = np.resize(GRAY, (height, width))
    assert_lightness(read(to_bytes(Image.fromarray(gray), "PNG")), gray_lightness(gray))


def test_1_bit_picture() -> None:
    bits = GRAY > 127
    for name in ("PNG", "TIFF", "BMP"):
        assert_lightness(read(to_bytes(Image.fromarray(bits), name)), gray_lightness(bits * 255))


@pytest.mark.parametrize("name", ["PNG", "GIF", "TIFF", "BMP"])
def test_palette_picture(name: str) -> None:
    image = Image.fromarray(RGB).quantize(16)
    assert_lightness(read(to_bytes(image, name)), rgb_lightness(np.asarray(image.convert("RGB"))))


@pytest.mark.parametrize(("name", "dtype"), [("PNG", "<u2"), ("TIFF", "<u2"), ("TIFF", ">u2")])
def test_16_bit_grey_keeps_its_levels(name: str, dtype: str) -> None:
    gray = np.arange(0, 65_536, 16, dtype=dtype).reshape(64, 64)
    photograph = read(to_bytes(Image.fromarray(gray), name))
    assert np.unique(photograph.lightness.numpy()).size == 4096
    assert_lightness(photograph, gray_to_lightness(torch.from_numpy(gray.astype(np.float32) / 65_535)))


def test_16_bit_tiff_with_white_at_zero_is_no_negative() -> None:
    gray = np.arange(0, 65_536, 16, dtype=np.uint16).reshape(64, 64)
    data = to_bytes(Image.fromarray(gray), "TIFF")
    photometric = struct.pack("<HHI", ExifTags.Base.PhotometricInterpretation, 3, 1)
    assert data.count(photometric + b"\1") == 1
    inverted = read(data.replace(photometric + b"\1", photometric + b"\0"))
    assert_lightness(inverted, gray_to_lightness(torch.from_numpy(1 - gray.astype(np.float32) / 65_535)))


def test_12_bit_tiff_reaches_white() -> None:
    gray = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    data = to_bytes(Image.fromarray(gray), "TIFF")
    bits = struct.pack("<HHI", ExifTags.Base.BitsPerSample, 3, 1)
    packed = np.packbits((gray.reshape(-1, 1) >> np.arange(11, -1, -1)) & 1).tobytes()
    assert data.count(bits + b"\x10") == 1
    assert data.count(gray.tobytes()) == 1
    data = data.replace(bits + b"\x10", bits + b"\x0c").replace(gray.tobytes(), packed.ljust(gray.nbytes, b"\0"))
    assert_lightness(read(data), gray_to_lightness(torch.from_numpy(gray.astype(np.float32) / 4095)))


@pytest.mark.parametrize("mode", ["I", "F"])
def test_32_bit_pixels_are_refused_by_name(mode: str) -> None:
    with pytest.raises(UnsupportedFormatError, match=rf"TIFF .* 32-bit .*mode {mode}.* 16 bits of grey"):
        read(to_bytes(Image.new(mode, (4, 3)), "TIFF"))


def test_cmyk_without_a_profile() -> None:
    smooth = np.stack([np.add.outer(np.arange(24), np.arange(40)).astype(np.uint8) * 3] * 4, axis=2)
    image = Image.fromarray(smooth, "CMYK")
    expected = rgb_lightness(np.asarray(image.convert("RGB")))
    assert_lightness(read(to_bytes(image, "TIFF")), expected)
    assert_lightness(read(to_bytes(image, "JPEG", quality=100)), expected, atol=3)


@pytest.mark.parametrize("name", ["TIFF", "JPEG"])
def test_cmyk_goes_through_its_profile(name: str) -> None:
    image = Image.new("CMYK", (40, 24), (255, 255, 255, 51))
    assert_lightness(read(to_bytes(image, name)), torch.zeros(24, 40))
    photograph = read(to_bytes(image, name, icc_profile=ONLY_BLACK_INK))
    assert_lightness(photograph, torch.full((24, 40), 80.0), atol=0.5)


def test_ycbcr_and_lab_tiff() -> None:
    ycbcr = Image.fromarray(RGB).convert("YCbCr")
    assert_lightness(read(to_bytes(ycbcr, "TIFF")), rgb_lightness(np.asarray(ycbcr.convert("RGB"))), atol=0.5)
    lab = Image.merge("LAB", [Image.fromarray(GRAY)] * 3)
    assert_lightness(read(to_bytes(lab, "TIFF")), torch.from_numpy(GRAY / 2.55).float())


def test_rgb_goes_through_its_profile() -> None:
    red, blue = (rgb_lightness(np.array([[color]])).item() for color in ([255, 0, 0], [0, 0, 255]))
    image = Image.new("RGB", (2, 2), "red")
    for name in ("PNG", "TIFF"):
        assert_lightness(read(to_bytes(image, name)), torch.full((2, 2), red))
        assert_lightness(read(to_bytes(image, name, icc_profile=SWAPPED_RGB)), torch.full((2, 2), blue), atol=0.5)
    palette = image.quantize(4)
    assert_lightness(read(to_bytes(palette, "PNG", icc_profile=SWAPPED_RGB)), torch.full((2, 2), blue), atol=0.5)


def test_grey_goes_through_its_profile_and_keeps_alpha() -> None:
    gray = np.arange(256, dtype=np.uint8)[None]
    expected = gray_to_lightness(srgb_encode(torch.from_numpy(gray / np.float32(255))))
    image = Image.merge("LA", [Image.fromarray(gray), Image.fromarray(gray)])
    photograph = read(to_bytes(image, "PNG", icc_profile=LINEAR_GRAY))
    assert_lightness(photograph, expected, atol=0.3)
    assert photograph.alpha is not None
    assert photograph.alpha.tolist() == gray.tolist()


def test_16_bit_grey_goes_through_its_profile_and_keeps_its_levels() -> None:
    gray = np.arange(0, 65_536, 16, dtype=np.uint16).reshape(64, 64)
    photograph = read(to_bytes(Image.fromarray(gray), "TIFF", icc_profile=LINEAR_GRAY))
    expected = gray_to_lightness(srgb_encode(torch.from_numpy(gray.astype(np.float32) / 65_535)))
    assert np.unique(photograph.lightness.numpy()).size > 2500
    # Next to black this curve is steeper than straight lines between its 256 knots can follow.
    torch.testing.assert_close(photograph.lightness[1:], expected[1:], rtol=0, atol=0.4)


@pytest.mark.parametrize("icc", [b"no profile", codec._SRGB_BYTES[:300], LINEAR_GRAY, bytes(200)])
def test_unusable_profile_counts_as_srgb(icc: bytes) -> None:
    assert_lightness(read(to_bytes(Image.fromarray(RGB), "PNG", icc_profile=icc)), rgb_lightness(RGB))


def test_sepia_leaves_only_its_lightness() -> None:
    sepia = np.stack([GRAY, GRAY * 0.8, GRAY * 0.6], axis=2).astype(np.uint8)
    assert_lightness(read(to_bytes(Image.fromarray(sepia), "PNG")), rgb_lightness(sepia))


@pytest.mark.parametrize(("name", "mode"), [("PNG", "LA"), ("PNG", "RGBA"), ("TIFF", "LA"), ("TIFF", "RGBA")])
def test_alpha_is_split_off(name: str, mode: str) -> None:
    gray, alpha = Image.fromarray(GRAY), Image.fromarray(ALPHA)
    photograph = read(to_bytes(Image.merge(mode, [gray] * (len(mode) - 1) + [alpha]), name))
    assert_lightness(photograph, gray_lightness(GRAY))
    assert photograph.alpha is not None
    assert torch.equal(photograph.alpha, torch.from_numpy(ALPHA))


def test_premultiplied_grey_is_divided_by_its_alpha() -> None:
    data = to_bytes(Image.new("LA", (3, 2), (40, 102)), "TIFF")
    extra_samples = struct.pack("<HHI", ExifTags.Base.ExtraSamples, 3, 1)
    assert data.count(extra_samples + b"\2") == 1
    photograph = read(data.replace(extra_samples + b"\2", extra_samples + b"\1"))
    assert_lightness(photograph, gray_lightness(np.full((2, 3), 100)))
    assert photograph.alpha is not None
    assert (photograph.alpha == 102).all()


def test_webp_alpha() -> None:
    image = Image.fromarray(np.dstack((RGB, ALPHA)))
    photograph = read(to_bytes(image, "WEBP", lossless=True, exact=True))
    assert_lightness(photograph, rgb_lightness(RGB))
    assert photograph.alpha is not None
    assert torch.equal(photograph.alpha, torch.from_numpy(ALPHA))


@pytest.mark.parametrize(
    ("pixels", "transparent"),
    [(GRAY, 7), (RGB, (1, 2, 3)), (GRAY.astype(np.uint16) * 257, 7 * 257), (GRAY > 127, 0)],
    ids=["grey", "rgb", "grey16", "1-bit"],
)
def test_png_with_one_transparent_colour(pixels: NDArray[Any], transparent: int | tuple[int, ...]) -> None:
    pixels = pixels.copy()
    pixels[5, 6] = transparent
    image = Image.fromarray(pixels)
    photograph = read(to_bytes(image, "PNG", transparency=transparent))
    assert photograph.alpha is not None
    expected = (pixels != transparent).reshape(24, 40, -1).any(axis=2) * 255
    assert photograph.alpha.tolist() == expected.tolist()
    assert torch.equal(photograph.lightness, read(to_bytes(image, "PNG")).lightness)


@pytest.mark.parametrize(("name", "transparency"), [("GIF", 3), ("PNG", 3), ("PNG", bytes(range(0, 160, 10)))])
def test_palette_with_transparency(name: str, transparency: int | bytes) -> None:
    image = Image.fromarray(RGB).quantize(16)
    index = np.asarray(image)
    photograph = read(to_bytes(image, name, transparency=transparency))
    if isinstance(transparency, int):
        table = np.where(np.arange(16) == transparency, 0, 255)
    else:
        table = np.frombuffer(transparency, np.uint8)
    assert photograph.alpha is not None
    assert photograph.alpha.tolist() == table[index].tolist()
    assert_lightness(photograph, rgb_lightness(np.asarray(image.convert("RGB"))))


# How a stored picture is shown under each EXIF orientation.
UPRIGHT: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).T,
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize(("name", "options"), [("JPEG", {"quality": 100}), ("PNG", {}), ("TIFF", {}), ("WEBP", {})])
def test_exif_orientation(name: str, options: dict[str, Any], orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    stored = np.kron(GRAY[:2, :3], np.ones((8, 8), np.uint8))
    photograph = read(to_bytes(Image.fromarray(stored), name, exif=exif, **options))
    assert_lightness(photograph, gray_lightness(UPRIGHT[orientation](stored).copy()), atol=8 if name == "WEBP" else 1)


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_orientation_turns_alpha_and_16_bits_too(dtype: type[np.generic], orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    gray = GRAY.astype(dtype) * (257 if dtype is np.uint16 else 1)
    photograph = read(to_bytes(Image.fromarray(gray), "PNG", exif=exif, transparency=int(gray[0, 0])))
    upright = UPRIGHT[orientation](GRAY).copy()
    assert_lightness(photograph, gray_lightness(upright))
    assert photograph.alpha is not None
    assert photograph.alpha.tolist() == ((upright != GRAY[0, 0]) * 255).tolist()


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "exif", [b"Exif\0\0", b"Exif\0\0garbage!", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\1"]
)
def test_broken_exif_is_ignored(name: str, exif: bytes) -> None:
    assert read(to_bytes(Image.fromarray(RGB), name, exif=exif)).lightness.shape == (24, 40)


@pytest.mark.parametrize("name", ["GIF", "WEBP", "TIFF", "PNG"])
def test_only_the_first_frame_is_read(name: str) -> None:
    frames = [Image.new("L", (8, 6), level) for level in (50, 200)]
    photograph = read(to_bytes(frames[0], name, save_all=True, append_images=frames[1:]))
    assert_lightness(photograph, gray_lightness(np.full((6, 8), 50)), atol=1)


def test_pixel_limit_is_inclusive() -> None:
    data = to_bytes(Image.fromarray(GRAY), "PNG")
    assert decode(data, max_pixels=24 * 40).lightness.numel() == 960
    with pytest.raises(TooManyPixelsError, match=r"PNG image declares 40 × 24 pixels; at most 959 pixels"):
        decode(data, max_pixels=959)


def test_pixel_limit_is_told_before_decoding() -> None:
    data = to_bytes(Image.fromarray(RGB), "JPEG")
    with pytest.raises(TooManyPixelsError):
        decode(data[: data.index(b"\xff\xda") + 14], max_pixels=1)


@pytest.mark.parametrize(("data", "found"), [(b"just text", "b'just text'"), (b"", "empty")])
def test_unknown_format_says_what_was_found_and_what_is_accepted(data: bytes, found: str) -> None:
    with pytest.raises(UnsupportedFormatError, match=f"{found}.*accepted are JPEG, PNG, WebP, TIFF, BMP, GIF"):
        read(data)


def test_truncated_file_is_broken() -> None:
    with pytest.raises(BrokenImageError, match="JPEG image is damaged or incomplete"):
        read(to_bytes(Image.fromarray(RGB), "JPEG")[:-200])


def test_running_out_of_memory_is_not_the_clients_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(codec, "_separate", exhausted)
    with pytest.raises(MemoryError):
        read(to_bytes(Image.fromarray(GRAY), "PNG"))


@pytest.mark.parametrize("format", ImageFormat)
def test_encoded_picture_is_tagged_and_reads_back(format: ImageFormat) -> None:
    smooth = np.dstack([np.add.outer(np.arange(24), np.arange(40)) * step for step in (3, 2, 1)]).astype(np.uint8)
    with Image.open(BytesIO(encode(torch.from_numpy(smooth), None, format, 95))) as image:
        assert image.get_format_mimetype() == format.media_type == f"image/{format}"
        assert image.mode == "RGB"
        assert image.info["icc_profile"] == codec._SRGB_BYTES
        error = np.abs(np.asarray(image).astype(int) - smooth)
    assert error.max() <= (0 if format is ImageFormat.PNG else 12)


def test_jpeg_keeps_full_chroma() -> None:
    with Image.open(BytesIO(encode(torch.from_numpy(RGB), None, ImageFormat.JPEG, 90))) as image:
        assert isinstance(image, JpegImagePlugin.JpegImageFile)
        assert JpegImagePlugin.get_sampling(image) == 0


@pytest.mark.parametrize("format", [ImageFormat.JPEG, ImageFormat.WEBP])
def test_quality_is_obeyed(format: ImageFormat) -> None:
    sizes = [len(encode(torch.from_numpy(RGB), None, format, quality)) for quality in (20, 60, 95)]
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize("format", [ImageFormat.PNG, ImageFormat.WEBP])
def test_alpha_is_put_back(format: ImageFormat) -> None:
    data = encode(torch.from_numpy(RGB), torch.from_numpy(ALPHA), format, 90)
    photograph = read(data)
    assert photograph.alpha is not None
    assert torch.equal(photograph.alpha, torch.from_numpy(ALPHA))


def test_jpeg_shows_transparency_as_white() -> None:
    alpha = torch.zeros(24, 40, dtype=torch.uint8)
    alpha[:, 16:] = 255
    rgb = torch.zeros(24, 40, 3, dtype=torch.uint8)
    lightness = read(encode(rgb, alpha, ImageFormat.JPEG, 95)).lightness
    assert lightness[:, :16].min() > 99
    assert lightness[:, 16:].max() < 1


@pytest.mark.parametrize(("format", "side"), [(ImageFormat.WEBP, 16_384), (ImageFormat.JPEG, 65_501)])
def test_sides_that_a_format_cannot_hold_are_refused(format: ImageFormat, side: int) -> None:
    assert encode(torch.zeros(1, side - 1, 3, dtype=torch.uint8), None, format, 50)
    with pytest.raises(TooManyPixelsError, match=f"{format} holds at most {side - 1} a side; ask for png"):
        encode(torch.zeros(side, 1, 3, dtype=torch.uint8), None, format, 50)


@pytest.mark.parametrize("read", [decode, inspect])
def test_a_side_that_is_out_of_proportion_is_refused(read: Callable[[bytes, int], object]) -> None:
    """Few pixels, but what is enlarged along such a side would take gigabytes."""
    with pytest.raises(TooManyPixelsError, match="65535 a side"):
        read(to_bytes(Image.new("L", (1, 70_000)), "PNG"), 10**6)


def test_profiles_of_an_odd_size_are_not_kept() -> None:
    """They come from clients, and would be in memory for ever."""
    file = BytesIO()
    Image.new("L", (4, 4), 90).save(file, "PNG", icc_profile=bytes(100_000))
    kept = codec._tone_curve.cache_info().currsize
    assert decode(file.getvalue(), 10**6).lightness.shape == (4, 4)
    assert codec._tone_curve.cache_info().currsize == kept
