"""Packs a set of photographs into one file, which takes no decoding to read."""

import logging
import os
from pathlib import Path

import numpy as np
from tqdm import tqdm

from training.errors import NoPhotosError, PhotoSetError, UnreadablePhotoError
from training.photos.archive import write_archive
from training.photos.sets import INDEX_FILE, PIXELS_FILE, SHORT_SIDE, PhotoSet, resize_short_side

logger = logging.getLogger(__name__)


def pack(photos: PhotoSet, out: Path) -> int:
    """Writes every photograph that can be read, reduced but never enlarged, in order; returns how many could not.

    A pack that was interrupted has no index: it is recognised as incomplete, and begun anew by the next call.

    Raises:
        NoPhotosError: None can be read.
        PhotoSetError: `out` holds a packed set already.
    """
    if (out / INDEX_FILE).exists():
        raise PhotoSetError(f"{out} holds a packed set already")
    out.mkdir(parents=True, exist_ok=True)
    sizes: list[tuple[int, int]] = []
    names: list[str] = []
    with (out / PIXELS_FILE).open("wb") as stream:
        for index in tqdm(range(len(photos)), desc="packing", unit="photo"):
            try:
                photo = photos.read(index)
            except UnreadablePhotoError as error:
                logger.warning("%s", error)
                continue
            if min(photo.size) > SHORT_SIDE:
                photo = resize_short_side(photo)
            stream.write(photo.tobytes())
            sizes.append((photo.height, photo.width))
            names.append(photos.name(index))
        stream.flush()
        # The index vouches for the pixels.
        os.fsync(stream.fileno())
    if not names:
        raise NoPhotosError(f"none of the {len(photos)} photographs can be read, {photos.name(0)} among them")
    write_archive(out / INDEX_FILE, {"sizes": np.array(sizes, np.int64), "names": np.array(names)})
    return len(photos) - len(names)
