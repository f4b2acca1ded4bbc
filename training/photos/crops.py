"""Colour photographs as endless training crops and as fixed validation crops."""

import logging
import os
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from service.imaging import color
from service.imaging.kernels import lightness_of
from service.network.preprocessing import AB_SCALE, INPUT_SIZE
from training.errors import NoPhotosError, UnreadablePhotoError
from training.photos.film import film
from training.photos.sets import PhotoSet, resize_short_side
from training.photos.surroundings import surround

logger = logging.getLogger(__name__)

SURROUNDED_SHARE = 0.25
"""Of the crops that are seen as old film saw them."""

Draw = tuple[int, int]
"""(position in the endless stream, which of the chosen photographs): the position seeds the augmentation."""


Batches = DataLoader[tuple[Tensor, Tensor]]


def split_lab(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """uint8 sRGB (B, 3, H, W) → L* (B, 1, H, W) in [0, 100] and the target ab/128 (B, 2, H, W)."""
    lab = color.rgb_to_lab(rgb.float() / 255)
    return lab[:, :1], lab[:, 1:] / AB_SCALE


class TrainingCrops(Dataset[tuple[Tensor, Tensor]]):
    """Random crops, mirrored half of the time: uint8 sRGB (3, S, S) and float32 L* (1, S, S) in [0, 100].

    The lightness is the crop's own or, with the probability `film_share`, what old film would have made of it; some of
    those are surrounded by a film's edge, a print's border or an album's page, which have no colours. Which part of a
    photograph is seen does not depend on that share.

    Three in ten are of most of the photograph, squeezed into the square; the others are nearly square parts, down to
    half of its short side. In place of a photograph that cannot be read comes the next one that can.
    """

    def __init__(
        self, photos: PhotoSet, indices: list[int], seed: int, film_share: float, side: Callable[[int], int]
    ) -> None:
        """`side`: S at a position of the stream, in pixels."""
        self.photos = photos
        self.indices = indices
        self.seed = seed
        self.film_share = film_share
        self.side = side

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, draw: Draw) -> tuple[Tensor, Tensor]:
        position, place = draw
        rng = random.Random(f"{self.seed}-{position}")
        side = self.side(position)
        photo = self._read_from(place)
        box = _crop_box(photo.width, photo.height, rng)
        crop = photo.resize((side, side), Image.Resampling.BICUBIC, box=box)
        if rng.random() < 0.5:
            crop = ImageOps.mirror(crop)
        if rng.random() < self.film_share:
            if rng.random() < SURROUNDED_SHARE:
                crop = surround(crop, rng)
            gray = torch.from_numpy(np.array(film(crop, rng)))
            return _to_tensor(crop), color.gray_to_lightness(gray[None].float() / 255)
        return _to_tensor(crop), torch.from_numpy(lightness_of(np.asarray(crop)))[None]

    def __getitems__(self, draws: list[Draw]) -> list[tuple[Tensor, Tensor]]:
        """A batch, in as many threads as torch computes with: Pillow and the kernels release the interpreter."""
        return list(self._threads.map(self.__getitem__, draws))

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        # Made where it is first needed: a loader's process has its own.
        return ThreadPoolExecutor(torch.get_num_threads())

    def _read_from(self, place: int) -> Image.Image:
        for index in (*self.indices[place:], *self.indices[:place]):
            try:
                return self.photos.read(index)
            except UnreadablePhotoError as error:
                logger.warning("%s", error)
        name = self.photos.name(self.indices[place])
        raise NoPhotosError(f"none of the {len(self.indices)} photographs can be read, {name} among them")


def _crop_box(width: int, height: int, rng: random.Random) -> tuple[float, float, float, float]:
    side = min(width, height)
    if rng.random() < 0.3:
        crop_width, crop_height = rng.uniform(side, width), rng.uniform(side, height)
    else:
        short, aspect = side * rng.uniform(0.5, 1), 2 ** rng.uniform(-0.25, 0.25)
        crop_width, crop_height = min(width, short * aspect**0.5), min(height, short / aspect**0.5)
    left, top = rng.uniform(0, width - crop_width), rng.uniform(0, height - crop_height)
    return left, top, left + crop_width, top + crop_height


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
    """A new seeded permutation every epoch, for ever, from any position: what makes a run resumable.

    An epoch draws as many as there are, each as often as its weight says, to within one (systematic resampling).
    """

    def __init__(self, weights: Tensor, seed: int, start: int) -> None:
        """`weights`: float64 (N,), all above 0; the scale does not matter."""
        self.ends = weights.cumsum(0) / weights.sum()
        self.seed = seed
        self.start = start

    def __iter__(self) -> Iterator[Draw]:
        position, size = self.start, len(self.ends)
        while True:
            epoch, offset = divmod(position, size)
            generator = torch.Generator().manual_seed(self.seed + epoch)
            first = torch.rand(1, dtype=torch.float64, generator=generator)
            drawn = torch.searchsorted(self.ends, (torch.arange(size) + first) / size).clamp(max=size - 1)
            for place in drawn[torch.randperm(size, generator=generator)[offset:]].tolist():
                yield position, place
                position += 1


def training_batches(crops: TrainingCrops, weights: Tensor, batch_size: int, start: int) -> Batches:
    """Endless batches from stream position `start` on: uint8 sRGB (B, 3, S, S) and float32 L* (B, 1, S, S).

    `weights`: see `EndlessShuffle`. On a CPU crops are made between the steps: a process of their own would take a core
    from the step for a twentieth of its time, and the other cores would wait for that one. A GPU's steps leave the
    processor free: there they are made beside.
    """
    beside = os.cpu_count() or 1 if torch.cuda.is_available() else 0
    return DataLoader(
        crops,
        batch_size=batch_size,
        sampler=EndlessShuffle(weights, crops.seed, start),
        num_workers=beside,
        prefetch_factor=4 if beside else None,
    )


def _to_tensor(photo: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(photo)).permute(2, 0, 1).contiguous()
