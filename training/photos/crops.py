"""Colour photographs as endless training crops and as fixed validation crops."""

import logging
import random
from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from service.imaging import color
from service.network.preprocessing import AB_SCALE, INPUT_SIZE
from training.errors import NoPhotosError, UnreadablePhotoError
from training.film import film
from training.photos import PhotoSet, resize_short_side

logger = logging.getLogger(__name__)

Draw = tuple[int, int]
"""(position in the endless stream, which of the chosen photographs): the position seeds the augmentation."""


def split_lab(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """uint8 sRGB (B, 3, H, W) → L* (B, 1, H, W) in [0, 100] and the target ab/128 (B, 2, H, W)."""
    lab = color.rgb_to_lab(rgb.float() / 255)
    return lab[:, :1], lab[:, 1:] / AB_SCALE


class TrainingCrops(Dataset[tuple[Tensor, Tensor]]):
    """Random crops, mirrored half of the time: uint8 sRGB (3, 224, 224) and float32 L* (1, 224, 224) in [0, 100].

    The lightness is the crop's own or, with the probability `film_share`, what old film would have made of it. Which
    part of a photograph is seen does not depend on that share.

    The service squeezes a whole photograph of any shape into the square, so half of the crops are large, of any
    shape, and squeezed alike. In place of a photograph that cannot be read comes the next one that can.
    """

    def __init__(self, photos: PhotoSet, indices: list[int], seed: int, film_share: float) -> None:
        self.photos = photos
        self.indices = indices
        self.seed = seed
        self.film_share = film_share

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, draw: Draw) -> tuple[Tensor, Tensor]:
        position, place = draw
        rng = random.Random(f"{self.seed}-{position}")
        photo = self._read_from(place)
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
        rgb = _to_tensor(crop)
        if rng.random() < self.film_share:
            gray = torch.from_numpy(np.array(film(crop, rng)))
            return rgb, color.gray_to_lightness(gray[None].float() / 255)
        return rgb, color.rgb_to_lightness(rgb.float() / 255)

    def _read_from(self, place: int) -> Image.Image:
        for index in (*self.indices[place:], *self.indices[:place]):
            try:
                return self.photos.read(index)
            except UnreadablePhotoError as error:
                logger.warning("%s", error)
        name = self.photos.name(self.indices[place])
        raise NoPhotosError(f"none of the {len(self.indices)} photographs can be read, {name} among them")


class CenterCrops(Dataset[Tensor]):
    """The middle 224×224 of every photograph, its short side made 256: uint8 sRGB (3, 224, 224).

    One that is 224×224 already is taken as it is: somebody has cropped it so, and it has nothing to spare.

    Raises UnreadablePhotoError where one cannot be read: a figure must not silently be about fewer.
    """

    def __init__(self, photos: PhotoSet, indices: list[int]) -> None:
        self.photos = photos
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, place: int) -> Tensor:
        photo = self.photos.read(self.indices[place])
        if photo.size == (INPUT_SIZE, INPUT_SIZE):
            return _to_tensor(photo)
        photo = resize_short_side(photo)
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
            for place in order[offset:]:
                yield position, place
                position += 1


def training_batches(
    photos: PhotoSet, indices: list[int], batch_size: int, seed: int, start: int, film_share: float
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Endless batches of `TrainingCrops`, decoded beside the training process, from stream position `start` on.

    A batch is uint8 sRGB (B, 3, 224, 224) and float32 L* (B, 1, 224, 224).
    """
    return DataLoader(
        TrainingCrops(photos, indices, seed, film_share),
        batch_size=batch_size,
        sampler=EndlessShuffle(len(indices), seed, start),
        num_workers=1,
        prefetch_factor=4,
    )


def _to_tensor(photo: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(photo)).permute(2, 0, 1).contiguous()
