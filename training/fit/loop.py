"""Fits a colorizer to a set of photographs after a recipe, resumable at any moment."""

import logging
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from service.network.backbones import BackboneName, load_imagenet_weights
from service.network.checkpoint import Checkpoint
from service.network.preprocessing import INPUT_SIZE
from training.errors import OtherRunError, RecipeError
from training.fit.log import Entry, Log
from training.fit.processes import ALONE, Processes
from training.fit.quantization import color_histogram
from training.fit.recipe import Recipe
from training.fit.resume import stop_requests
from training.fit.run import CHECKPOINT_FILE, Run
from training.photos.crops import CenterCrops, TrainingCrops, split_lab, training_batches
from training.photos.faces import read_faces
from training.photos.selection import select
from training.photos.sets import PhotoSet, open_photos

logger = logging.getLogger(__name__)

SELECTION_FILE = "selection.npz"
"""What was found out about the photographs, in the run's folder: not to be found out again."""

SAVE_EVERY_S = 180.0

VALIDATION_PHOTOS = 512
"""More would tell little more, and they stay in memory: these are 77 MB."""


def fit(
    backbone: BackboneName,
    photos: Path,
    recipe: Recipe,
    out: Path,
    seed: int = 0,
    initial: Path | None = None,
    backbone_weights: Path | None = None,
    processes: Processes = ALONE,
    save_every_s: float = SAVE_EVERY_S,
) -> Run:
    """Trains until the recipe's photographs are seen, those of earlier, interrupted calls counted in.

    `initial`: folder of a model with the same backbone whose weights are the start; None: an ImageNet trunk
    (`backbone_weights`, else the hub's), all else untrained.

    A part of the photographs is held back (`select`), and the averaged network's loss on it, `Run.validation_loss`, is
    measured as often as the recipe says. Where the folder is too small to hold any back, that is left out.

    Writes `out`/checkpoint.pt every `save_every_s` seconds of training, after every validation, on SIGTERM or Ctrl-C
    and at the end, and with each a row of `out`/log.csv, the same as TensorBoard events. Called again with the same
    `out`, it goes on where the last one was saved, whatever had ended it.

    The same seed, photographs and start give the same weights to the last bit, interrupted or not, on the same kind
    of processor with the same versions of the libraries and the same number of threads (OMP_NUM_THREADS): sums taken
    in another order round otherwise. On GPUs that order is not fixed, and runs differ in the last bits from the first
    step on. The number of processes does not change which crops a step sees, but batch norm then works on parts.

    Raises:
        NoPhotosError: The folder holds no photographs, or none to train on.
        PhotoSetError: It holds a packed set, or arrays, that are not whole, or lacks the faces that the recipe weighs.
        RecipeError: Its batches cannot be divided evenly between the processes, or it gives hints to a model that
            takes none.
        BackboneWeightsError: No ImageNet weights for the trunk.
        CheckpointError: `initial` holds no such model.
        OtherRunError: `out` holds a run with another backbone, recipe or seed.
    """
    if recipe.batch_size % processes.count:
        raise RecipeError(f"{processes.count} processes cannot share a batch_size of {recipe.batch_size} evenly")
    photo_set = open_photos(photos)
    checkpoint = out / CHECKPOINT_FILE
    if checkpoint.exists():
        run = Run.load(checkpoint)
        if (run.config.backbone, run.recipe, run.seed) != (backbone, recipe, seed):
            raise OtherRunError(
                f"{out} holds a run of {run.config.backbone} with seed {run.seed} and the recipe "
                f"{run.recipe.model_dump_json(exclude_defaults=True)}: name another folder, or go on with these"
            )
        if run.finished:
            return run
        logger.info("resuming at %.1f minutes, %d photographs seen", run.seconds / 60, run.photos_seen)
        selection = processes.from_first(lambda: select(photo_set, out / SELECTION_FILE))
    else:
        # Before the long survey, so that a missing model is soon known.
        start = None if initial is None else Checkpoint.load(initial, backbone)
        if start and recipe.hint_share and not start.colorizer.config.hints:
            raise RecipeError(f"the recipe gives hints, and the model in {initial} takes none")
        selection = processes.from_first(lambda: select(photo_set, out / SELECTION_FILE))
        histogram = processes.from_first(lambda: sample_histogram(photo_set, selection.train, seed))
        config = start.config.network.uncalibrated() if start else None
        run = Run(config or recipe.network(backbone), recipe, seed, histogram)
        if start is None:
            load_imagenet_weights(run.model.backbone, backbone, backbone_weights)
        else:
            run.start_from(start.colorizer)
            run.provenance["initial"] = start.config.tag
    run.provenance["photographs"] = {
        "train": len(selection.train),
        "validation": len(selection.validation),
        "unreadable": selection.unreadable,
        "near_grey": selection.near_grey,
    }
    validation = None
    if processes.first and selection.validation:
        validation = validation_crops(photo_set, selection.validation)
    elif processes.first:
        logger.warning("too few photographs to hold some back: there will be no validation losses")
    run.distribute(processes)
    crops = TrainingCrops(photo_set, selection.train, seed, recipe.film_share, recipe.crop_side)
    weights = draw_weights(photo_set, selection.train, recipe)
    batches = training_batches(crops, weights, recipe.batch_size, run.photos_seen)
    _train(run, processes.part_of(batches), validation, out, save_every_s)
    return run


def draw_weights(photos: PhotoSet, indices: list[int], recipe: Recipe) -> Tensor:
    """How often each of the photographs is drawn, float64, as the recipe says of their names and faces."""
    faces = recipe.face_weight != 1 and read_faces(photos)
    names = [photos.name(index) for index in indices]
    weights = torch.ones(len(names), dtype=torch.float64)
    for place, name in enumerate(names):
        for prefix, weight in recipe.weights.items():
            if name.startswith(prefix):
                weights[place] *= weight
        if faces and name in faces:
            weights[place] *= recipe.face_weight
    return weights


def sample_histogram(photos: PhotoSet, indices: list[int], seed: int) -> Tensor:
    """How often each cell of the ab plane occurs in the first crops of the seeded stream."""
    crops = TrainingCrops(photos, indices, seed, 0.0, lambda _: INPUT_SIZE)
    batches = iter(training_batches(crops, torch.ones(len(indices), dtype=torch.float64), 16, 0))
    return torch.stack([color_histogram(split_lab(next(batches)[0])[1]) for _ in range(32)]).sum(dim=0)


def validation_crops(photos: PhotoSet, indices: list[int]) -> Tensor:
    """Centre crops of at most `VALIDATION_PHOTOS` photographs, spread evenly: uint8 sRGB (N, 3, 224, 224)."""
    crops = CenterCrops(photos, indices[:: -(-len(indices) // VALIDATION_PHOTOS)])
    return torch.stack([crops[index] for index in range(len(crops))])


def _train(
    run: Run, batches: Iterable[tuple[Tensor, Tensor]], validation: Tensor | None, out: Path, save_every_s: float
) -> None:
    """`validation`: `validation_crops`; None: there are none, or this is not the process that validates."""
    window: list[float] = []
    saved_at = run.seconds
    first = run.processes.first
    with ExitStack() as stack:
        log = stack.enter_context(Log(out, run.photos_seen)) if first else None
        bar = stack.enter_context(
            tqdm(total=run.recipe.photographs, initial=run.photos_seen, unit="photo", disable=not first)
        )
        stop = stack.enter_context(stop_requests())

        def save(validation_loss: float | None) -> None:
            nonlocal saved_at
            if log is not None:
                loss = sum(window) / len(window)
                log.add(Entry(run.seconds / 60, run.photos_seen, loss, validation_loss, run.learning_rate))
                run.save(out / CHECKPOINT_FILE)
            window.clear()
            saved_at = run.seconds

        stream = iter(batches)
        # A signal reaches the processes at different moments, and only the first knows how validations go.
        while not run.processes.any(run.finished or stop.is_set()):
            started, seen = time.monotonic(), run.photos_seen
            window.append(run.step(*next(stream)))
            run.seconds += time.monotonic() - started
            bar.update(run.photos_seen - seen)
            bar.set_postfix_str(f"loss {sum(window) / len(window):.5f}")
            every = run.recipe.validate_every
            if validation is not None and (run.finished or run.photos_seen // every > seen // every):
                validation_loss = run.validation_loss(validation)
                run.judge(validation_loss)
                save(validation_loss)
            elif run.seconds - saved_at > save_every_s:
                save(None)
        if window:
            save(None)
