"""Which photographs of a set are trained on, which are held back to validate on, and which serve neither.

The split is a property of what the pictures show, not of their names and order: a photograph stays on its side when
others come and go, and near duplicates, such as one photograph saved anew or reduced, fall on one side together. (Only
a new near duplicate can take those it joins to the other side, all together.)
"""

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from tqdm import tqdm

from service.imaging import color
from training.errors import NoPhotosError, OtherRunError, UnreadablePhotoError
from training.photos.archive import read_archive, write_archive
from training.photos.sets import PhotoSet

logger = logging.getLogger(__name__)

NEAR_GREY_CHROMA = 2.5
"""Photographs of less mean CIELAB chroma teach only that the world is grey.

Looked at in 18,133 photographs, 0.5 % of which have less: nearly all show silver, porcelain, fur or asphalt on white
or black, or are drawings and greyscale scans. From 3 on come overcast streets and seas, which should be
learnt from.
"""

NEAR_DUPLICATE_BITS = 4
"""Difference hashes that differ in no more bits are taken for one picture's.

Looked at in the same photographs: pairs 3 or 4 bits apart are mostly one picture twice, those 5 or 6 apart are mostly
different skies, and at 10 bits chains of those tie 900 photographs together.
"""

THUMBNAIL_SIDE = 32

_Chroma = npt.NDArray[np.float32]
_Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Selection:
    """Indices into the set, ascending, and how many photographs were left out, and why."""

    train: list[int]
    validation: list[int]
    unreadable: int
    near_grey: int


def select(photos: PhotoSet, cache: Path, validation_share: float = 0.05) -> Selection:
    """Filters and splits a set; `validation_share` in [0, 1] is what to expect, not a promise.

    Every photograph is read once. What was found is kept in the file `cache` (.npz) for as long as the set's
    fingerprint stays what it is.

    Raises:
        NoPhotosError: None is left to train on.
    """
    chroma, hashes = _survey(photos, cache)
    unreadable = int(np.isnan(chroma).sum())
    near_grey = int((chroma < NEAR_GREY_CHROMA).sum())
    chosen = np.flatnonzero(chroma >= NEAR_GREY_CHROMA)
    held_back = _held_back(hashes[chosen], validation_share)
    selection = Selection(chosen[~held_back].tolist(), chosen[held_back].tolist(), unreadable, near_grey)
    logger.info(
        "%d photographs to train on, %d to validate on; left out: %d unreadable, %d near-grey",
        len(selection.train),
        len(selection.validation),
        unreadable,
        near_grey,
    )
    if not selection.train:
        raise NoPhotosError(f"none of the {len(photos)} photographs is left to train on")
    return selection


def held_back(photos: PhotoSet, cache: Path) -> list[int]:
    """The photographs that a run held back, of which `select` kept that file.

    Raises:
        OtherRunError: There is no such file, or it is of other photographs.
    """
    try:
        fingerprint = str(read_archive(cache)["fingerprint"])
    except (OSError, ValueError, LookupError) as error:
        raise OtherRunError(f"{cache} does not say which photographs a run held back: {error}") from error
    if fingerprint != photos.fingerprint():
        raise OtherRunError(f"{cache} is of a run with other photographs than those in {photos.folder}")
    return select(photos, cache).validation


def difference_hash(photo: Image.Image) -> int:
    """64 bits: whether brightness rises from left to right, at each of 8×8 places of the whole photograph.

    Source: N. Krawetz, "Kind of Like That", The Hacker Factor Blog, 2013 (dHash).
    """
    gray = np.asarray(photo.convert("L").resize((9, 8), Image.Resampling.LANCZOS))
    return int.from_bytes(np.packbits(gray[:, 1:] > gray[:, :-1]).tobytes(), "big")


def mean_chroma(photo: Image.Image) -> float:
    """Mean of √(a*² + b*²) over a thumbnail: the noise of single pixels is no colour."""
    thumbnail = photo.resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BOX)
    lab = color.rgb_to_lab(torch.from_numpy(np.array(thumbnail)).permute(2, 0, 1).float() / 255)
    return torch.hypot(lab[1], lab[2]).mean().item()


def _survey(photos: PhotoSet, cache: Path) -> tuple[_Chroma, _Hashes]:
    """Mean chroma, NaN where a photograph cannot be read, and difference hash of every photograph."""
    fingerprint = photos.fingerprint()
    try:
        found = read_archive(cache)
        if str(found["fingerprint"]) == fingerprint:
            return found["chroma"], found["hashes"]
    except FileNotFoundError:
        pass
    except (ValueError, LookupError) as error:
        logger.warning("%s; looking through the photographs again", error)
    chroma = np.full(len(photos), np.nan, np.float32)
    hashes = np.zeros(len(photos), np.uint64)
    for index in tqdm(range(len(photos)), desc="selecting", unit="photo"):
        try:
            photo = photos.read(index)
        except UnreadablePhotoError as error:
            logger.warning("%s", error)
            continue
        chroma[index] = mean_chroma(photo)
        hashes[index] = difference_hash(photo)
    cache.parent.mkdir(parents=True, exist_ok=True)
    write_archive(cache, {"fingerprint": np.array(fingerprint), "chroma": chroma, "hashes": hashes})
    return chroma, hashes


def _held_back(hashes: _Hashes, share: float) -> npt.NDArray[np.bool_]:
    """Whether each photograph is one to validate on; decided once for every cluster of near duplicates."""
    distinct, positions = np.unique(hashes, return_inverse=True)
    smallest = _clusters(distinct)
    sides = {int(value): _fraction(int(value)) < share for value in np.unique(smallest)}
    return np.array([sides[int(value)] for value in smallest], np.bool_)[positions]


def _clusters(distinct: _Hashes) -> _Hashes:
    """The smallest hash of each one's cluster, given ascending hashes: those joined by chains of near duplicates."""
    smallest = np.zeros_like(distinct)
    free = np.ones(len(distinct), np.bool_)
    for first, value in enumerate(distinct):
        if not free[first]:
            continue
        free[first] = False
        reached = [first]
        while reached:
            member = reached.pop()
            smallest[member] = value
            near = np.flatnonzero(free & (np.bitwise_count(distinct ^ distinct[member]) <= NEAR_DUPLICATE_BITS))
            free[near] = False
            reached.extend(near.tolist())
    return smallest


def _fraction(value: int) -> float:
    """A hash as a number in [0, 1), evenly spread however the hashes are not."""
    return int.from_bytes(hashlib.sha256(value.to_bytes(8, "big")).digest()[:8], "big") / 2**64
