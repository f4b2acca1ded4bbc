import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from service.imaging import color
from training.errors import NoPhotosError, PhotoSetError, UnreadablePhotoError
from training.photos.sets import open_photos


def write_mirflickr(folder: Path, rgb: npt.NDArray[np.uint8], lengths: list[int]) -> None:
    """What OpenCV's 8-bit conversion would have given for (N, 224, 224, 3), the colours in files of these lengths."""
    lab = color.rgb_to_lab(torch.from_numpy(rgb).permute(0, 3, 1, 2).float() / 255).permute(0, 2, 3, 1).numpy()
    eight_bit = (lab * (255 / 100, 1, 1) + (0, 128, 128)).round().clip(0, 255).astype(np.uint8)
    (folder / "l").mkdir(parents=True)
    (folder / "ab").mkdir()
    np.save(folder / "l/gray_scale.npy", eight_bit[..., 0])
    start = 0
    for number, length in enumerate(lengths, 1):
        np.save(folder / f"ab/ab{number}.npy", eight_bit[start : start + length, ..., 1:])
        start += length


@pytest.fixture
def mirflickr(tmp_path: Path) -> tuple[Path, npt.NDArray[np.uint8]]:
    """Twelve soft gradients, the last in ab10.npy."""
    rng = np.random.default_rng(0)
    corners = rng.integers(60, 200, size=(12, 2, 2, 3), dtype=np.uint8)
    rgb = np.stack([np.asarray(Image.fromarray(image).resize((224, 224))) for image in corners])
    write_mirflickr(tmp_path / "mirflickr", rgb, [1, 3, 1, 1, 1, 1, 1, 1, 1, 1])
    return tmp_path / "mirflickr", rgb


def test_photos_are_found_in_order_and_nothing_else(photos: Path) -> None:
    found = open_photos(photos)
    assert [found.name(index) for index in range(len(found))] == ["0.jpg", *(f"{index}.png" for index in range(1, 6))]
    assert found.read(1).size == (300, 260)


def test_an_empty_folder_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(NoPhotosError, match=str(tmp_path)):
        open_photos(tmp_path)


def test_large_photographs_are_upright_and_reduced_while_decoding(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turned by 90°
    Image.new("L", (2400, 1200), 90).save(tmp_path / "turned.jpg", exif=exif)
    photo = open_photos(tmp_path).read(0)
    assert (photo.mode, photo.size) == ("RGB", (600, 1200))


def test_broken_files_are_named(tmp_path: Path, photos: Path) -> None:
    (tmp_path / "a.jpg").write_bytes((photos / "0.jpg").read_bytes()[:2000])
    (tmp_path / "b.png").mkdir()
    (tmp_path / "c.webp").symlink_to("nowhere")
    broken = open_photos(tmp_path)
    for index, name in enumerate(["a.jpg", "b.png", "c.webp"]):
        with pytest.raises(UnreadablePhotoError, match=name):
            broken.read(index)


def test_a_fingerprint_tells_when_a_file_has_changed(tmp_path: Path) -> None:
    file = tmp_path / "red.png"
    Image.new("RGB", (300, 240), (200, 30, 30)).save(file)
    (tmp_path / "dangling.png").symlink_to("nowhere")
    before = open_photos(tmp_path).fingerprint()
    assert open_photos(tmp_path).fingerprint() == before
    os.utime(file, (1, 1))
    assert open_photos(tmp_path).fingerprint() != before


def test_mirflickr_is_read_as_srgb(mirflickr: tuple[Path, npt.NDArray[np.uint8]]) -> None:
    folder, rgb = mirflickr
    photos = open_photos(folder)
    assert len(photos) == len(rgb)
    assert photos.name(11) == "00011"
    for index, truth in enumerate(rgb):
        photo = photos.read(index)
        assert (photo.mode, photo.size) == ("RGB", (224, 224))
        # Rounding CIELAB to 8 bits costs no more.
        difference = np.abs(np.asarray(photo).astype(int) - truth)
        assert difference.mean() < 1
        assert difference.max() <= 10
    fingerprint = photos.fingerprint()
    os.utime(folder / "ab/ab3.npy", (1, 1))
    assert photos.fingerprint() != fingerprint


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("l/gray_scale.npy", truncate, "not a whole .npy file"),
        ("ab/ab2.npy", lambda file: file.write_bytes(b""), "not a whole .npy file"),
        (
            "ab/ab2.npy",
            lambda file: np.save(file, np.zeros((3, 224, 224, 2), np.float32)),
            "float32 .* in place of uint8",
        ),
        (
            "ab/ab2.npy",
            lambda file: np.save(file, np.zeros((3, 2, 224, 224), np.uint8)),
            r"\(3, 2, 224, 224\) in place",
        ),
        ("ab", lambda folder: (folder / "ab10.npy").unlink(), "the colours of 11 photographs.* the lightness of 12"),
    ],
)
def test_other_arrays_are_errors_that_name_the_file(
    mirflickr: tuple[Path, npt.NDArray[np.uint8]], name: str, damage: Callable[[Path], None], message: str
) -> None:
    folder, _ = mirflickr
    damage(folder / name)
    with pytest.raises(PhotoSetError, match=f"{name}.*{message}"):
        open_photos(folder)
