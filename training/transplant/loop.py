"""Makes a ResNet-101 colorizer of a MobileNetV2 one and teaches it, resumable at any moment."""

import logging
import time
from collections import defaultdict
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from service.network.backbones import BackboneName
from service.network.checkpoint import CONFIG_FILE, Checkpoint, CheckpointConfig, save_checkpoint
from service.network.colorizer import Colorizer
from service.network.preprocessing import INPUT_SIZE
from training.errors import ExistingModelError
from training.fit.log import Entry, Log
from training.fit.loop import SAVE_EVERY_S, SELECTION_FILE
from training.fit.resume import stop_requests
from training.fit.run import CHECKPOINT_FILE
from training.photos.crops import TrainingCrops, training_batches
from training.photos.selection import select
from training.photos.sets import PhotoSet, open_photos
from training.transplant.run import Curriculum, DistillationRun
from training.transplant.surgery import transplant

logger = logging.getLogger(__name__)

SAMPLE_BATCHES = 3
"""Of crops at full size, which the surgery measures offsets and statistics with."""


def grow(
    teacher: Path,
    photos: Path,
    out: Path,
    curriculum: Curriculum,
    seed: int = 0,
    save_every_s: float = SAVE_EVERY_S,
) -> CheckpointConfig | None:
    """Writes to `out` a ResNet-101 model made of the MobileNetV2 model in the folder `teacher`: where to begin from.

    Until its layers have seen the curriculum's crops, those of earlier, interrupted calls counted in, there is no model
    but `out`/checkpoint.pt, written every `save_every_s` seconds of teaching, between the phases, on SIGTERM or Ctrl-C
    and at the end, and with each a row of `out`/log.csv. Its `loss` is the sum of all that is minimised, so it is of
    another kind from the second phase on; TensorBoard has the parts too. Called again with the same `out`, it goes on
    where the last one was saved, whatever had ended it. What `training.fit.loop.fit` says of determinism holds here.

    Returns what is known of the model; None: the run was stopped before.

    Raises:
        CheckpointError: There is no such teacher.
        ExistingModelError: `out` holds a model that no run there ended with.
        OtherRunError: `out` holds another kind of run, or one with another teacher, curriculum or seed.
        NoPhotosError: The folder `photos` holds no photographs, or none to train on.
        PhotoSetError: It holds a packed set, or arrays, that are not whole.
    """
    checkpoint = out / CHECKPOINT_FILE
    source = Checkpoint.load(teacher, BackboneName.MOBILENET_V2)
    run = DistillationRun.load(checkpoint, source, curriculum, seed) if checkpoint.exists() else None
    if (out / CONFIG_FILE).exists():
        if run is None or not run.finished:
            raise ExistingModelError(f"there is a model in {out} already: name another folder")
        return Checkpoint.load(out, BackboneName.RESNET101).config
    photo_set = open_photos(photos)
    train = select(photo_set, out / SELECTION_FILE).train
    if run is None:
        run = _begin(source, sample_lightness(photo_set, train, curriculum, seed), curriculum, seed)
    else:
        logger.info("resuming at %.1f minutes, %d photographs seen", run.seconds / 60, run.photos_seen)
    crops = TrainingCrops(photo_set, train, seed, curriculum.film_share, curriculum.side)
    weights = torch.ones(len(train), dtype=torch.float64)
    _teach(run, training_batches(crops, weights, curriculum.batch_size, run.photos_seen), out, save_every_s)
    if not run.finished:
        logger.info("stopped after %d photographs: the same command goes on", run.photos_seen)
        return None
    provenance = {
        "transplanted_from": source.config.tag,
        "seed": seed,
        "photos_seen": run.photos_seen,
        "minutes": round(run.seconds / 60, 1),
    }
    return save_checkpoint(run.student, out, source.config.version, provenance)


def sample_lightness(photos: PhotoSet, indices: list[int], curriculum: Curriculum, seed: int) -> Tensor:
    """L* (B, 1, 224, 224) of the first crops of the seeded stream."""
    crops = TrainingCrops(photos, indices, seed, curriculum.film_share, lambda _: INPUT_SIZE)
    batches = iter(training_batches(crops, torch.ones(len(indices), dtype=torch.float64), 16, 0))
    return torch.cat([next(batches)[1] for _ in range(SAMPLE_BATCHES)])


def _begin(teacher: Checkpoint, sample: Tensor, curriculum: Curriculum, seed: int) -> DistillationRun:
    torch.manual_seed(seed)
    config = replace(teacher.config.network.uncalibrated(), backbone=BackboneName.RESNET101)
    student = Colorizer(config)
    ends = transplant(teacher.colorizer, student, sample)
    return DistillationRun(teacher, student, ends, curriculum, seed)


def _teach(run: DistillationRun, batches: Iterable[tuple[Tensor, Tensor]], out: Path, save_every_s: float) -> None:
    window: dict[str, list[float]] = defaultdict(list)
    saved_at = run.seconds
    total = 2 * run.curriculum.phase
    with Log(out, run.photos_seen) as log, ExitStack() as stack:
        bar = stack.enter_context(tqdm(total=total, initial=run.photos_seen, unit="photo"))
        stop = stack.enter_context(stop_requests())

        def means() -> dict[str, float]:
            return {name: sum(values) / len(values) for name, values in window.items()}

        def save() -> None:
            nonlocal saved_at
            parts = means()
            for name, mean in parts.items():
                log.events.add_scalar(f"parts/{name}", mean, run.photos_seen)
            log.add(Entry(run.seconds / 60, run.photos_seen, sum(parts.values()), None, run.learning_rate))
            run.save(out / CHECKPOINT_FILE)
            window.clear()
            saved_at = run.seconds

        stream = iter(batches)
        while not run.finished and not stop.is_set():
            started, phase = time.monotonic(), run.phase_name
            rgb, lightness = next(stream)
            for name, part in run.step(rgb, lightness).items():
                window[name].append(part)
            run.seconds += time.monotonic() - started
            bar.set_description(phase, refresh=False)
            bar.set_postfix({name: f"{mean:.3f}" for name, mean in means().items()}, refresh=False)
            bar.update(len(rgb))
            if run.seconds - saved_at > save_every_s or run.phase_name != phase:
                save()
        if window:
            save()
