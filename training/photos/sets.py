"""Sets of colour photographs on disk: folders of files, packed sets, and MIRFLICKR-25000's arrays.

No set holds a photograph in memory. Packed sets and arrays are mapped anew for every photograph: pages of a mapping
count as the process's own from when they are first touched until it is closed, so one mapping kept for a whole epoch
would grow to the size of the set (25,000 photographs: 4 to 6 GB).
"""

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps

from service.imaging import color
from training.errors import NoPhotosError, PhotoSetError, UnreadablePhotoError
from training.photos.archive import read_archive

SUFFIXES = {".avif", ".jpeg", ".jpg", ".png", ".webp"}

DECODED_SIDE = 512
"""Large JPEG files are decoded at the smallest of 1/1, 1/2, 1/4 and 1/8 whose short side is no less than this."""

SHORT_SIDE = 256
"""Photographs are reduced to this before they are packed or measured, as the ImageNet trunks were evaluated."""

PIXELS_FILE = "pixels.u8"
"""Of a packed set: the photographs one after another, each uint8 (height, width, 3)."""

INDEX_FILE = "index.npz"
"""Of a packed set: `sizes` (N, 2), each height and width, and `names` (N,). Written last: without it, none is whole."""

MIRFLICKR_SIDE = 224


class PhotoSet(Protocol):
    """Photographs in a fixed order, so that an index, and with it a seed, means the same everywhere."""

    folder: Path

    def __len__(self) -> int: ...

    def read(self, index: int) -> Image.Image:
        """The photograph, upright, in mode "RGB".

        Raises:
            UnreadablePhotoError: It cannot be decoded.
        """

    def name(self, index: int) -> str:
        """What a person finds it by."""

    def fingerprint(self) -> str:
        """Another one whenever the set's files have changed."""


def open_photos(path: Path) -> PhotoSet:
    """Recognises what lies in a folder: a packed set, MIRFLICKR-25000's arrays, or else files at any depth.

    Raises:
        NoPhotosError: There are no photographs.
        PhotoSetError: It is a packed set or arrays, but not whole.
    """
    if (path / PIXELS_FILE).exists() or (path / INDEX_FILE).exists():
        return PackedPhotos(path)
    if (path / MirFlickr.LIGHTNESS_FILE).exists():
        return MirFlickr(path)
    return PhotoFolder(path)


def resize_short_side(photo: Image.Image) -> Image.Image:
    """The whole photograph, its short side `SHORT_SIDE` pixels."""
    scale = SHORT_SIDE / min(photo.size)
    if scale == 1:
        return photo
    return photo.resize((round(photo.width * scale), round(photo.height * scale)), Image.Resampling.BICUBIC)


class PhotoFolder:
    """All files below a folder whose names end like a photograph's, in the order of their paths."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        if not self._files:
            raise NoPhotosError(f"no photographs ({', '.join(sorted(SUFFIXES))}) below {folder}")

    def __len__(self) -> int:
        return len(self._files)

    def read(self, index: int) -> Image.Image:
        file = self._files[index]
        try:
            with Image.open(file) as photo:
                photo.draft("RGB", (DECODED_SIDE, DECODED_SIDE))
                return ImageOps.exif_transpose(photo).convert("RGB")
        except MemoryError:
            raise
        except Exception as error:
            # Pillow documents no closed list: OSError, SyntaxError, ValueError, struct.error, zlib.error and more are
            # seen, and one broken file must not end a run.
            raise UnreadablePhotoError(f"{file} cannot be read: {error}") from error

    def name(self, index: int) -> str:
        return self._files[index].relative_to(self.folder).as_posix()

    def fingerprint(self) -> str:
        return _fingerprint(self.folder, self._files)


class PackedPhotos:
    """What `python -m training pack` wrote."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._pixels = folder / PIXELS_FILE
        try:
            index = read_archive(folder / INDEX_FILE)
            self._sizes = index["sizes"].astype(np.int64)
            self._names = index["names"]
            self._ends = self._sizes.prod(axis=1).cumsum() * 3
            whole = self._pixels.stat().st_size == self._ends[-1]
        except FileNotFoundError as error:
            raise PhotoSetError(f"{folder} holds a packed set without its {Path(error.filename).name}") from error
        except (ValueError, LookupError) as error:
            raise PhotoSetError(f"{folder / INDEX_FILE} is not the index of a packed set: {error}") from error
        if not whole:
            raise PhotoSetError(f"{self._pixels} is not as long as {INDEX_FILE} says")

    def __len__(self) -> int:
        return len(self._sizes)

    def read(self, index: int) -> Image.Image:
        height, width = self._sizes[index].tolist()
        start = int(self._ends[index]) - height * width * 3
        return Image.fromarray(_map(self._pixels, start, (height, width, 3)))

    def name(self, index: int) -> str:
        return str(self._names[index])

    def fingerprint(self) -> str:
        return _fingerprint(self.folder, [self._pixels, self.folder / INDEX_FILE])


class MirFlickr:
    """MIRFLICKR-25000 as it circulates: uint8 arrays of OpenCV's 8-bit CIELAB, L·255/100, a* + 128, b* + 128.

    `l/gray_scale.npy` is (N, 224, 224); those of `ab/ab*.npy` are (n, 224, 224, 2) and together as long. Read as sRGB,
    as all photographs are; colours outside its gamut, which rounding may have made, are clipped.

    Source of the scales: OpenCV, "Color conversions", RGB ↔ CIE L*a*b* for 8-bit images.
    """

    LIGHTNESS_FILE = "l/gray_scale.npy"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        pixels = (MIRFLICKR_SIDE, MIRFLICKR_SIDE)
        self._lightness = _Rows.open(folder / self.LIGHTNESS_FILE, pixels)
        # ab10.npy comes after ab9.npy.
        files = sorted(folder.glob("ab/ab*.npy"), key=lambda file: (len(file.name), file.name))
        self._colors = [_Rows.open(file, (*pixels, 2)) for file in files]
        colors = sum(rows.count for rows in self._colors)
        if colors != self._lightness.count:
            raise PhotoSetError(
                f"{folder / 'ab'} holds the colours of {colors} photographs, "
                f"but {self._lightness.file} the lightness of {self._lightness.count}"
            )

    def __len__(self) -> int:
        return self._lightness.count

    def read(self, index: int) -> Image.Image:
        row = index
        for colors in self._colors:
            if row < colors.count:
                break
            row -= colors.count
        lightness = torch.from_numpy(np.array(self._lightness.read(index), np.float32)) * (100 / 255)
        a, b = torch.from_numpy(np.array(colors.read(row), np.float32)).unbind(-1)
        rgb = color.lab_to_rgb(torch.stack((lightness, a - 128, b - 128)))
        return Image.fromarray((rgb * 255).round().byte().permute(1, 2, 0).contiguous().numpy())

    def name(self, index: int) -> str:
        return f"{index:05}"

    def fingerprint(self) -> str:
        return _fingerprint(self.folder, [rows.file for rows in (self._lightness, *self._colors)])


@dataclass(frozen=True)
class _Rows:
    """A .npy file of `count` equal uint8 arrays, the first of which begins at byte `offset`."""

    file: Path
    offset: int
    count: int
    shape: tuple[int, ...]

    @classmethod
    def open(cls, file: Path, shape: tuple[int, ...]) -> "_Rows":
        try:
            array = np.load(file, mmap_mode="r")
        except (OSError, ValueError, EOFError) as error:
            raise PhotoSetError(f"{file} is not a whole .npy file: {error}") from error
        if array.dtype != np.uint8 or array.shape[1:] != shape or not array.flags.c_contiguous:
            wanted = ", ".join(map(str, shape))
            raise PhotoSetError(f"{file} is {array.dtype} {array.shape} in place of uint8 (N, {wanted}) in C order")
        return cls(file, array.offset, len(array), shape)

    def read(self, row: int) -> npt.NDArray[np.uint8]:
        return _map(self.file, self.offset + row * int(np.prod(self.shape)), self.shape)


def _map(file: Path, offset: int, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    return np.memmap(file, np.uint8, "r", offset, shape)


def _fingerprint(folder: Path, files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        entry: list[str | int] = [str(file.relative_to(folder))]
        # A dangling link is just one more photograph that cannot be read.
        with suppress(OSError):
            state = file.stat()
            entry += [state.st_size, state.st_mtime_ns]
        digest.update(repr(entry).encode())
    return digest.hexdigest()
