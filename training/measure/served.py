"""Measures colorizers as they are served: whole photographs, at their own size, through the service's own code."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from service.imaging import color
from service.imaging.kernels import lightness_of
from service.imaging.recompose import recompose
from service.network.checkpoint import METRICS_FILE
from service.network.colorizer import Colorizer
from training.errors import NoPhotosError
from training.measure import metrics
from training.measure.answers import GREY, Answers, StoredModel
from training.measure.bootstrap import Bootstrap, Key
from training.measure.canvas import Canvas
from training.measure.evaluate import SERVED
from training.measure.faces import FaceBoard, FaceScores
from training.measure.pictures import PHOTO_THUMBNAIL, THUMBNAIL, ContactSheets
from training.measure.predictions import MIN_COLORFULNESS
from training.measure.scores import TRUTH, Scores
from training.photos.faces import FACES_FILE, read_faces
from training.photos.sets import PhotoSet, open_photos

SOURCE_PHOTOS = 10
"""A source with fewer photographs says too little to count as much as the others."""


@dataclass(frozen=True)
class ServedPhotograph:
    """One photograph and every answer to it, uint8 sRGB (3, H, W) by row; the row `TRUTH` is the photograph."""

    name: str
    pictures: Mapping[str, Tensor]


@dataclass(frozen=True)
class ServedEvaluation:
    """What was measured on the whole photographs of a set."""

    canvas: Canvas
    photos: int
    sources: dict[str, int]
    """Photographs of each source that has at least `SOURCE_PHOTOS`."""
    scores: Scores
    """Means over photographs."""
    source_scores: Scores
    """Means over sources, each counting once; empty where there is no source."""
    faces: FaceScores
    """Empty where the set has no `FACES_FILE`."""


def evaluate_served(
    colorizers: Mapping[str, Colorizer], photos: Path, canvas: Canvas, pictures: Path | None = None
) -> ServedEvaluation:
    """Scores of every model, of their blend and of the grey answer, which goes the same way, on whole photographs.

    `colorizers`: by the name of their row, in evaluation mode, on the CPU. `pictures`: folder for contact sheets, of
    the faces where the set has a `FACES_FILE`, else of the photographs of each source. A photograph's source is its
    name up to the last hyphen. Large JPEG files are reduced first, by `PhotoFolder`.

    Raises:
        NoPhotosError: The folder holds no photographs, or none with any colour.
        UnreadablePhotoError: One of them cannot be read.
        PhotoSetError: Its `FACES_FILE` is not what it should be.
    """
    photo_set = open_photos(photos)
    answers = Answers(colorizers)
    faces = read_faces(photo_set) if (photo_set.folder / FACES_FILE).exists() else {}
    sheets = None
    if pictures is not None:
        sheets = ContactSheets(pictures, [TRUTH, *answers.served], THUMBNAIL if faces else PHOTO_THUMBNAIL)
    face_board = FaceBoard(answers.served, sheets, sum(map(len, faces.values())))
    figures: dict[Key, list[float]] = defaultdict(list)
    for photo in serve(photo_set, range(len(photo_set)), answers, canvas):
        _measure(photo, figures)
        face_board.add(photo.pictures, faces.get(photo.name, []))
        if sheets is not None and not faces:
            sheets.add(photo.pictures, _source(photo.name).replace("/", "-") or "photographs")
    if sheets is not None:
        sheets.finish()
    arrays = {key: np.array(values) for key, values in figures.items()}
    if arrays[TRUTH, "colorfulness"].mean() < MIN_COLORFULNESS:
        raise NoPhotosError(f"no photograph below {photos} has any colour to compare with")
    strata = _sources([photo_set.name(index) for index in range(len(photo_set))])
    rows = [*answers.served, GREY]
    return ServedEvaluation(
        canvas=canvas,
        photos=len(photo_set),
        sources={source: len(indices) for source, indices in strata.items()},
        scores=_scores(rows, Bootstrap(arrays)),
        source_scores=_scores(rows, Bootstrap(arrays, list(strata.values()))) if strata else {},
        faces=face_board.scores(),
    )


def measure_faces(colorizers: Mapping[str, Colorizer], photos: Path, canvas: Canvas) -> FaceScores:
    """The faces of `evaluate_served` alone; photographs without any are not coloured.

    Raises:
        NoPhotosError: The folder holds no photographs.
        UnreadablePhotoError: One of them cannot be read.
        PhotoSetError: It has no `FACES_FILE`, or that is not what it should be.
    """
    photo_set = open_photos(photos)
    faces = read_faces(photo_set)
    indices = [index for index in range(len(photo_set)) if photo_set.name(index) in faces]
    board = FaceBoard(list(colorizers), None, sum(map(len, faces.values())))
    for photo in serve(photo_set, indices, Answers(colorizers), canvas):
        board.add(photo.pictures, faces[photo.name])
    return board.scores()


@torch.inference_mode()
def serve(photos: PhotoSet, indices: range | list[int], answers: Answers, canvas: Canvas) -> Iterator[ServedPhotograph]:
    """The answers to the lightness of photographs, one after another, each at its photograph's size.

    Raises UnreadablePhotoError where one cannot be read.
    """
    for index in tqdm(indices, desc=f"serving, {canvas}", unit="photo"):
        pixels = np.array(photos.read(index))
        lightness = torch.from_numpy(lightness_of(pixels))
        answered = answers.predict(canvas.reduce(lightness))
        delivered = {row: recompose(lightness, answered[row][0]) for row in (*answers.served, GREY)}
        delivered[TRUTH] = torch.from_numpy(pixels)
        yield ServedPhotograph(
            photos.name(index), {row: picture.permute(2, 0, 1) for row, picture in delivered.items()}
        )


def save_served(model: StoredModel, photos: Path, evaluation: ServedEvaluation, others: list[str]) -> None:
    """Adds the figures to the model's metrics.json, below `SERVED` and the name of the photographs' folder.

    `others`: the names of the other models measured, whose rows are left out.
    """

    def own(scores: Scores) -> Scores:
        return {row: figures for row, figures in scores.items() if row not in others}

    faces = {group: face | {"scores": own(face["scores"])} for group, face in evaluation.faces.items()}
    measured: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "canvas": evaluation.canvas,
        "photos": evaluation.photos,
        "sources": evaluation.sources,
        "scores": own(evaluation.scores),
        "source_scores": own(evaluation.source_scores),
        "faces": faces,
    }
    # What is there may be of other weights: the checkpoint has only taken over what is of these.
    kept = model.checkpoint.metrics | {"digest": model.checkpoint.config.digest}
    kept[SERVED] = kept.get(SERVED, {}) | {photos.resolve().name: measured}
    (model.folder / METRICS_FILE).write_text(json.dumps(kept, indent=2) + "\n")


def _measure(photo: ServedPhotograph, figures: dict[Key, list[float]]) -> None:
    """Appends the photograph's figures."""
    truth = photo.pictures[TRUTH][None]
    true_lab = color.rgb_to_lab(truth.float() / 255)
    true_chroma = _chroma(true_lab)
    figures[TRUTH, "colorfulness"].append(metrics.colorfulness(truth).item())
    grey_psnr = metrics.psnr(photo.pictures[GREY][None], truth).item()
    for row, picture in photo.pictures.items():
        if row == TRUTH:
            continue
        rgb = picture[None]
        lab = color.rgb_to_lab(rgb.float() / 255)
        psnr = metrics.psnr(rgb, truth).item()
        figures[row, "ciede2000"].append(metrics.ciede2000(lab, true_lab).mean().item())
        figures[row, "psnr"].append(psnr)
        figures[row, "psnr_above_grey"].append(psnr - grey_psnr)
        figures[row, "colorfulness"].append(metrics.colorfulness(rgb).item())
        figures[row, "excess"].append((_chroma(lab) > true_chroma + metrics.EXCESS_CHROMA).float().mean().item())


def _scores(rows: list[str], bootstrap: Bootstrap) -> Scores:
    return {
        row: {
            "ciede2000": bootstrap.mean((row, "ciede2000")),
            "ciede2000_ratio_to_grey": bootstrap.ratio((row, "ciede2000"), (GREY, "ciede2000")),
            "psnr": bootstrap.mean((row, "psnr")),
            "psnr_above_grey": bootstrap.mean((row, "psnr_above_grey")),
            "colorfulness_ratio": bootstrap.ratio((row, "colorfulness"), (TRUTH, "colorfulness")),
            "excess": bootstrap.mean((row, "excess")),
        }
        for row in rows
    }


def _sources(names: list[str]) -> dict[str, NDArray[np.intp]]:
    """The photographs of each source that has enough, the largest source first."""
    sources = [_source(name) for name in names]
    counted = [source for source, count in Counter(sources).most_common() if source and count >= SOURCE_PHOTOS]
    return {source: np.flatnonzero(np.array(sources) == source) for source in counted}


def _source(name: str) -> str:
    """What a photograph's name says before its last hyphen; empty where it has none."""
    return name.rpartition("-")[0]


def _chroma(lab: Tensor) -> Tensor:
    """(B, 3, H, W) → (B, H, W)."""
    return torch.hypot(lab[:, 1], lab[:, 2])
