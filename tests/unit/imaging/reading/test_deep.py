"""JPEG 2000, AVIF and HEIC, of 8 bits a sample and of more."""

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from service.imaging.errors import BrokenImageError, UnsupportedFormatError
from tests.photographs import UPRIGHT, assert_alpha, assert_lightness, gray_lightness, opened, read, rgb_lightness
from tests.pictures import to_bytes
from tests.tiff_samples import noise, ramp

FILES = Path(__file__).parents[1] / "files"

Y, X = np.mgrid[:48, :64]
MADE = (X * 255 // 63 * 3 // 4 + Y * 255 // 47 // 4).astype(np.uint8)
"""What the files in `FILES` show."""


@pytest.mark.parametrize("container", ["jp2", "j2k"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_jpeg_2000(bits: int, channels: int, container: str) -> None:
    samples = noise(bits, channels)
    data = imagecodecs.jpeg2k_encode(
        samples.squeeze(), codecformat=container, reversible=True, level=0, bitspersample=bits
    )
    original = opened(data)
    photograph = original.decode()
    assert original.depth == (8 if bits == 8 else 16)
    colors = np.broadcast_to(samples[..., :1], (*samples.shape[:2], 3)) if channels < 3 else samples[..., :3]
    assert_lightness(photograph, rgb_lightness(colors, 2**bits - 1), 0.02)
    if channels in (2, 4):
        largest = 255 if bits == 8 else 65_535
        scaled = samples[..., -1] * (largest / (2**bits - 1)) + 0.5
        assert_alpha(photograph, scaled.astype(np.uint8 if bits == 8 else np.uint16))
    else:
        assert photograph.alpha is None


def test_lossy_jpeg_2000() -> None:
    data = to_bytes(Image.fromarray(ramp(3)), "JPEG2000", irreversible=True, quality_layers=[10])
    assert_lightness(read(data), rgb_lightness(ramp(3)), 3)


def test_jpeg_2000_of_signed_or_unlike_components_is_refused_by_name() -> None:
    signed = (noise(16).astype(np.int32) - 2**15).astype(np.int16)[..., 0]
    with pytest.raises(UnsupportedFormatError, match="JPEG 2000 image with components of a kind"):
        read(imagecodecs.jpeg2k_encode(signed, codecformat="jp2", reversible=True, level=0))


def test_jpeg_2000_without_a_codestream_is_broken() -> None:
    with pytest.raises(BrokenImageError, match="it has no header"):
        read(to_bytes(Image.fromarray(ramp(3)), "JPEG2000")[:70])


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("bits", [8, 10, 12])
def test_avif(bits: int, alpha: bool) -> None:
    samples = ramp(4 if alpha else 3).astype(np.uint16) * 2 ** (bits - 8)
    samples = samples.astype(np.uint8) if bits == 8 else samples
    original = opened(imagecodecs.avif_encode(samples, level=100, bitspersample=bits))
    photograph = original.decode()
    assert original.depth == (8 if bits == 8 else 16)
    assert_lightness(photograph, rgb_lightness(samples[..., :3], 2**bits - 1), 1.5)
    if alpha:
        assert photograph.alpha is not None
        largest = 255 if bits == 8 else 65_535
        expected = samples[..., 3] * (largest / (2**bits - 1))
        assert np.abs(photograph.alpha.numpy() - expected).max() <= largest / 255
    else:
        assert photograph.alpha is None


@pytest.mark.parametrize("bits", [8, 10])
def test_grey_avif(bits: int) -> None:
    samples = (ramp(1)[..., 0].astype(np.uint16) * 2 ** (bits - 8)).astype(np.uint8 if bits == 8 else np.uint16)
    data = imagecodecs.avif_encode(samples, level=100, bitspersample=bits)
    assert_lightness(read(data), gray_lightness(samples, 2**bits - 1), 1)


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_avif_is_turned_as_its_container_says(orientation: int) -> None:
    """Pillow writes the orientation as irot and imir."""
    exif = Image.Exif()
    exif[274] = orientation
    levels = ramp(1)[..., 0]
    data = to_bytes(Image.fromarray(np.dstack([levels] * 3)), "AVIF", quality=100, subsampling="4:4:4", exif=exif)
    assert (b"irot" in data or b"imir" in data) is (orientation != 1)
    assert_lightness(read(data), gray_lightness(UPRIGHT[orientation](levels).copy()), 1)


@pytest.mark.parametrize(("turn", "mirror"), [(1, None), (3, None), (None, 0), (None, 1), (1, 1)])
def test_avif_of_10_bits_is_turned_once(turn: int | None, mirror: int | None) -> None:
    """irot and imir, put into a file that has them (MIAF: first irot, then imir)."""
    levels = ramp(1)[..., 0]
    exif = Image.Exif()
    exif[274] = 6
    data = imagecodecs.avif_encode(np.dstack([levels.astype(np.uint16) * 4] * 3), level=100, bitspersample=10)
    data = with_properties(data, turn, mirror)
    shown = levels
    if turn is not None:
        shown = np.rot90(shown, turn)
    if mirror is not None:
        shown = np.fliplr(shown) if mirror else np.flipud(shown)
    assert_lightness(read(data), gray_lightness(shown.copy()), 1.5)


def with_properties(data: bytes | bytearray, turn: int | None, mirror: int | None) -> bytes:
    """An AVIF whose picture is turned anticlockwise by quarters, and then mirrored."""
    data = bytes(data)
    boxes = []
    if turn is not None:
        boxes.append(b"\0\0\0\x09irot" + bytes((turn,)))
    if mirror is not None:
        boxes.append(b"\0\0\0\x09imir" + bytes((mirror,)))
    added = b"".join(boxes)

    def grown(data: bytes, name: bytes, by: int) -> bytes:
        at = data.index(name) - 4
        return data[:at] + (int.from_bytes(data[at : at + 4]) + by).to_bytes(4) + data[at + 4 :]

    container = data.index(b"ipco") - 4
    end = container + int.from_bytes(data[container : container + 4])
    properties, place = 0, container + 8
    while place < end:
        properties, place = properties + 1, place + int.from_bytes(data[place : place + 4])
    associations = data.index(b"ipma") + 4
    assert data[associations : associations + 4] == bytes(4)
    count_at = associations + 4 + 4 + 2
    count = data[count_at]
    links = bytes(0x80 | properties + 1 + i for i in range(len(boxes)))
    data = (
        data[:count_at] + bytes((count + len(boxes),)) + data[count_at + 1 : count_at + 1 + count] + links
        + data[count_at + 1 + count :]
    )  # fmt: skip
    data = data[:end] + added + data[end:]
    grow = len(added)
    data = grown(grown(grown(grown(data, b"ipma", len(links)), b"ipco", grow), b"iprp", grow + len(links)), b"meta",
                 grow + len(links))  # fmt: skip
    # The one extent moves along.
    location = data.index(b"iloc")
    moved = bytearray(data)
    begin = data.index(b"mdat") + 4
    old = (begin - grow - len(links)).to_bytes(4)
    at = data.index(old, location)
    moved[at : at + 4] = begin.to_bytes(4)
    return bytes(moved)


def test_animated_avif_of_more_than_8_bits_is_refused_by_name() -> None:
    """Whatever says that it is one: the decoder would write where it must not."""
    data = imagecodecs.avif_encode(np.zeros((16, 16, 3), np.uint16), level=100, bitspersample=10)
    with pytest.raises(UnsupportedFormatError, match="an animated AVIF of more than 8 bits"):
        read(data + b"\0\0\0\x08moov")


def test_animated_avif_of_8_bits_shows_its_first_picture() -> None:
    frames = [Image.new("RGB", (16, 16), (level,) * 3) for level in (50, 200)]
    data = to_bytes(frames[0], "AVIF", quality=100, save_all=True, append_images=frames[1:])
    assert b"moov" in data
    assert_lightness(read(data), gray_lightness(np.full((16, 16), 50)), 1)


@pytest.mark.parametrize(("name", "depth", "tolerance"), [("gray8", 8, 1), ("rgb8", 8, 1), ("rgb10", 16, 0.5)])
def test_heic(name: str, depth: int, tolerance: float) -> None:
    original = opened((FILES / f"{name}.heic").read_bytes())
    assert original.depth == depth
    photograph = original.decode()
    assert_lightness(photograph, gray_lightness(MADE), tolerance)
    assert photograph.alpha is None


def test_heic_with_alpha() -> None:
    photograph = read((FILES / "rgba8.heic").read_bytes())
    assert_lightness(photograph, gray_lightness(MADE), 1)
    assert photograph.alpha is not None
    assert np.abs(photograph.alpha.numpy().astype(int) - (255 - MADE)).max() <= 2


def test_heic_is_turned_once() -> None:
    original = opened((FILES / "turned.heic").read_bytes())
    assert (original.width, original.height) == (48, 64)
    assert_lightness(original.decode(), gray_lightness(np.rot90(MADE, -1).copy()), 1)
