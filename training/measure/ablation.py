"""Recipes against one another: at equal budget, and at equal colourfulness."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from service.network.checkpoint import Checkpoint
from service.network.chroma import Uncalibrated
from service.network.colorizer import Colorizer
from training.errors import NoModelsError
from training.fit.loop import fit
from training.fit.recipe import Recipe
from training.fit.run import CHECKPOINT_FILE, Run
from training.measure.answers import GREY, with_calibration
from training.measure.bootstrap import Bootstrap
from training.measure.canvas import Canvas
from training.measure.evaluate import Evaluation, evaluate
from training.measure.faces import ALL
from training.measure.frechet import FeatureExtractor, FeatureStatistics, frechet_distance
from training.measure.power_law import PowerLaw
from training.measure.predictions import MAX_GAIN, Predictions
from training.measure.scores import Scores
from training.measure.served import measure_faces
from training.photos.sets import PhotoSet, open_photos

logger = logging.getLogger(__name__)

RATIOS = (0.5, 0.7, 0.85)
"""Colourfulness, as a share of the truth's, at which networks are compared."""


def ablate(
    recipes: Sequence[str],
    initial: Path,
    photos: Path,
    validation: Path,
    photographs: int,
    out: Path,
    extractor: FeatureExtractor | None = None,
) -> Evaluation:
    """Trains the model in `initial` on with each recipe, for so many photographs, and measures them all.

    Losses that dare more colour and losses that dare less are only comparable at one colourfulness, so each gets the
    plain gain that makes it as colourful as the truth, if there is one; the rows without it say what the loss alone
    does. The first row, `start`, is the model they all start from. Every run is a folder of `out`; unfinished
    ones are resumed.

    Raises what `fit` and `evaluate` do.
    """
    start = Checkpoint.load(initial)
    colorizers = {"start": start.colorizer}
    for name in recipes:
        recipe, row = Recipe.load(name, photographs), Path(name).stem
        run = fit(start.config.network.backbone, photos, recipe, out / row, initial=initial)
        colorizers[row] = run.averaged().cpu()  # where all measuring is done, whatever it was trained on
    validation_set = open_photos(validation)
    return evaluate(
        {row: _vivid(row, colorizer.eval(), validation_set) for row, colorizer in colorizers.items()},
        validation,
        extractor,
    )


def load_networks(folders: Sequence[Path]) -> dict[str, Colorizer]:
    """The networks of models and of runs, which may be unfinished, by the names of their folders.

    Raises:
        NoModelsError: Two folders have the same name.
        CheckpointError: One holds neither a run nor a model, or one that cannot be loaded.
    """
    networks: dict[str, Colorizer] = {}
    for folder in folders:
        name = folder.resolve().name
        if name in networks:
            raise NoModelsError(f"two folders are named {name}: their rows could not be told apart")
        run = folder / CHECKPOINT_FILE
        networks[name] = Run.load(run).averaged().cpu().eval() if run.exists() else Checkpoint.load(folder).colorizer
    return networks


@torch.inference_mode()
def compare(
    networks: Mapping[str, Colorizer], photos: Path, faces: Path | None, extractor: FeatureExtractor | None = None
) -> Scores:
    """The networks at each of `RATIOS`, which a plain gain on the raw a* and b* brings about: a row of each.

    `networks`: by the name of their rows, in evaluation mode, on the CPU. `photos`: for CIEDE2000 and Fréchet distance,
    over the centre crops of `Predictions`; `faces`: a set with faces, measured as served; None: there are no figures of
    them. A network too grey for a ratio has no row there.

    Raises what `Predictions` and `measure_faces` do.
    """
    photo_set = open_photos(photos)
    gained: dict[str, Colorizer] = {}
    scores: Scores = {}
    for name, network in networks.items():
        predictions = Predictions(network, photo_set)
        true_features = _features(extractor, (batch.truth for batch in predictions.batches))
        grey = predictions.differences(_plain(0.0))
        for ratio in RATIOS:
            gain, row = predictions.reach(_plain, ratio, MAX_GAIN), f"{name} at {ratio:.2f}"
            if gain is None:
                logger.warning("%s is too grey for a colourfulness of %.2f of the truth's", name, ratio)
                continue
            gained[row] = with_calibration(network, _plain(gain))
            figures = {(row, ""): predictions.differences(_plain(gain)), (GREY, ""): grey}
            bootstrap = Bootstrap({key: values.double().numpy() for key, values in figures.items()})
            scores[row] = {
                "gain": {"value": gain},
                "ciede2000_ratio_to_grey": bootstrap.ratio((row, ""), (GREY, "")),
            }
            features = _features(extractor, (batch.deliver(_plain(gain)) for batch in predictions.batches))
            if features is not None and true_features is not None:
                scores[row]["frechet"] = {"value": frechet_distance(features, true_features)}
    measured = measure_faces(gained, faces, Canvas.SQUARE) if faces is not None else {}
    if ALL in measured:
        for row, of_faces in measured[ALL]["scores"].items():
            scores[row] |= {f"faces_{figure}": estimate for figure, estimate in of_faces.items()}
    return scores


def _features(extractor: FeatureExtractor | None, batches: Iterable[Tensor]) -> FeatureStatistics | None:
    """Of pictures, uint8 sRGB (B, 3, 224, 224); None where there is no extractor."""
    if extractor is None:
        return None
    statistics = FeatureStatistics()
    for batch in batches:
        statistics.add(extractor(batch))
    return statistics


def _plain(gain: float) -> PowerLaw:
    return PowerLaw(gain, 0.0)


def _vivid(row: str, colorizer: Colorizer, photos: PhotoSet) -> Colorizer:
    """With the gain at which its pictures are as colourful as photographs."""
    gain = Predictions(colorizer, photos).reach(_plain, 1.0, MAX_GAIN)
    if gain is None:
        logger.warning("%s is too grey for any gain: it gets none", row)
        return with_calibration(colorizer, Uncalibrated())
    return with_calibration(colorizer, _plain(gain))
