"""Folders of colour photographs, as endless training crops and as fixed validation crops."""

import logging
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from service.imaging import color
from service.network.preprocessing import AB_SCALE, INPUT_SIZE
from training.errors import NoPhotosError, UnreadablePhotoError

logger = logging.getLogger(__name__)

SUFFIXES = {".avif", ".jpeg", ".jpg", ".png", ".webp"}

SHORT_SIDE = 256
"""Photographs are reduced to this before the centre crop, as the ImageNet trunks were evaluated."""

Draw = tuple[int, int]
"""(position in the endless stream, index of the photograph): the position seeds the augmentation."""


def find_photos(folder: Path) -> list[Path]:
    """All photographs below a folder, sorted, so that a seed means the same everywhere.

    Raises:
        NoPhotosError: There are none.
    """
    photos = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not photos:
        raise NoPhotosError(f"no photographs ({', '.join(sorted(SUFFIXES))}) below {folder}")
    return photos


def split_lab(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """uint8 sRGB (B, 3, H, W) → L* (B, 1, H, W) in [0, 100] and the target ab/128 (B, 2, H, W)."""
    lab = color.rgb_to_lab(rgb.float() / 255)
    return lab[:, :1], lab[:, 1:] / AB_SCALE


class TrainingCrops(Dataset[Tensor]):
    """Random crops, mirrored half of the time: uint8 sRGB (3, 224, 224).

    The service squeezes a whole photograph of any shape into the square, so half of the crops are large, of any
    shape, and squeezed alike. In place of a photograph that cannot be read comes the next one that can.
    """

    def __init__(self, photos: list[Path], seed: int) -> None:
        self.photos = photos
        self.seed = seed

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, draw: Draw) -> Tensor:
        position, index = draw
        rng = random.Random(f"{self.seed}-{position}")
        photo = self._read_from(index)
        width, height = photo.size
        side = min(width, height)
        if rng.random() < 0.5:
            crop_width, crop_height = rng.uniform(side, width), rng.uniform(side, height)
        else:
            crop_width = crop_height = side * rng.uniform(0.7, 1)
        left, top = rng.uniform(0, width - crop_width), rng.uniform(0, height - crop_height)
        box = (left, top, left + crop_width, top + crop_height)
        crop = photo.resize((INPUT_SIZE, INPUT_SIZE), Image.Resampling.BICUBIC, box=box)
        if rng.random() < 0.5:
            crop = ImageOps.mirror(crop)
        return _to_tensor(crop)

    def _read_from(self, index: int) -> Image.Image:
        for path in (*self.photos[index:], *self.photos[:index]):
            try:
                return _read(path)
            except UnreadablePhotoError as error:
                logger.warning("%s", error)
        raise NoPhotosError(f"none of the {len(self.photos)} photographs can be read, {self.photos[index]} among them")


class CenterCrops(Dataset[Tensor]):
    """The middle 224×224 of every photograph, its short side reduced to 256: uint8 sRGB (3, 224, 224).

    Raises UnreadablePhotoError where one cannot be read: a figure must not silently be about fewer.
    """

    def __init__(self, photos: list[Path]) -> None:
        self.photos = photos

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, index: int) -> Tensor:
        photo = _read(self.photos[index])
        scale = SHORT_SIDE / min(photo.size)
        if scale != 1:
            photo = photo.resize((round(photo.width * scale), round(photo.height * scale)), Image.Resampling.BICUBIC)
        left, top = (photo.width - INPUT_SIZE) // 2, (photo.height - INPUT_SIZE) // 2
        return _to_tensor(photo.crop((left, top, left + INPUT_SIZE, top + INPUT_SIZE)))


class EndlessShuffle(Sampler[Draw]):
    """A new seeded permutation every epoch, for ever, from any position: what makes a run resumable."""

    def __init__(self, size: int, seed: int, start: int) -> None:
        self.size = size
        self.seed = seed
        self.start = start

    def __iter__(self) -> Iterator[Draw]:
        position = self.start
        while True:
            epoch, offset = divmod(position, self.size)
            order = torch.randperm(self.size, generator=torch.Generator().manual_seed(self.seed + epoch)).tolist()
            for index in order[offset:]:
                yield position, index
                position += 1


def training_batches(photos: list[Path], batch_size: int, seed: int, start: int) -> DataLoader[Tensor]:
    """Endless batches of training crops, decoded beside the training process, from stream position `start` on."""
    return DataLoader(
        TrainingCrops(photos, seed),
        batch_size=batch_size,
        sampler=EndlessShuffle(len(photos), seed, start),
        num_workers=1,
        prefetch_factor=4,
    )


def _read(path: Path) -> Image.Image:
    try:
        with Image.open(path) as photo:
            return ImageOps.exif_transpose(photo).convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise UnreadablePhotoError(f"{path} cannot be read: {error}") from error


def _to_tensor(photo: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(photo)).permute(2, 0, 1).contiguous()
