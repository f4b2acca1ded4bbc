"""From a run's checkpoint to a folder of the model store."""

from datetime import UTC, datetime
from pathlib import Path

from service.network.checkpoint import CONFIG_FILE, CheckpointConfig, save_checkpoint
from training.errors import ExistingModelError, NoRunError, UnservableRunError
from training.fit.quantization import QuantizedColorizer
from training.fit.run import CHECKPOINT_FILE, Run


def export(run_folder: Path, store: Path, version: str) -> CheckpointConfig:
    """Writes a run's averaged weights to `store`/<backbone>/, with where they come from.

    Raises:
        NoRunError: There is no run in `run_folder`.
        UnservableRunError: The service has no such network.
        ExistingModelError: The store holds a model with this backbone.
    """
    file = run_folder / CHECKPOINT_FILE
    if not file.exists():
        raise NoRunError(f"no {CHECKPOINT_FILE} in {run_folder}: run `python -m training fit --out {run_folder}` first")
    run = Run.load(file)
    colorizer = run.averaged()
    if isinstance(colorizer, QuantizedColorizer):
        raise UnservableRunError(f"{file} is of the recipe's loss {run.recipe.loss}, whose network the service lacks")
    folder = store / run.config.backbone
    if (folder / CONFIG_FILE).exists():
        raise ExistingModelError(f"there is a model in {folder} already: give another --store, or remove it first")
    provenance = {
        "recipe": run.recipe.model_dump(mode="json"),
        "seed": run.seed,
        **run.provenance,
        "photos_seen": run.photos_seen,
        "minutes": round(run.seconds / 60, 1),
        "exported": datetime.now(UTC).date().isoformat(),
    }
    return save_checkpoint(colorizer, folder, version, provenance)
