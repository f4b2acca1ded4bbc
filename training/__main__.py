"""The command line of training: `python -m training {fit,evaluate,export}`."""

import argparse
import json
import logging
import sys
from datetime import UTC, datetime
from pathlib import Path

from service.network.backbones import BackboneName, BackboneWeightsError
from service.network.checkpoint import METRICS_FILE, Checkpoint, CheckpointError
from training.errors import TrainingError
from training.evaluate import evaluate, format_table
from training.export import export
from training.fit import fit


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("fit", help="train a colorizer on a folder of photographs")
    command.add_argument("--backbone", type=BackboneName, choices=list(BackboneName), required=True)
    command.add_argument("--photos", type=Path, required=True, help="folder of colour photographs")
    command.add_argument("--backbone-weights", type=Path, help="ImageNet weights (safetensors); default: download")
    command.add_argument("--minutes", type=float, default=60, help="training time, resumed runs counted in")
    command.add_argument("--out", type=Path, required=True, help="folder of the run; an unfinished one is resumed")
    command.add_argument("--seed", type=int, default=0)
    command = commands.add_parser("evaluate", help="measure a model of the store on a folder of photographs")
    command.add_argument("--model", type=Path, required=True, help="the model's folder")
    command.add_argument("--photos", type=Path, required=True, help="folder of colour photographs")
    command.add_argument("--save", action="store_true", help=f"keep the figures in the model's {METRICS_FILE}")
    command = commands.add_parser("export", help="write a run's weights to the model store")
    command.add_argument("--run", type=Path, required=True, help="the run's folder")
    command.add_argument("--store", type=Path, required=True, help="the model store; must not hold this backbone yet")
    command.add_argument("--version", required=True, help="of the model, for instance 1.0.0")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        match options.command:
            case "fit":
                fit(
                    options.backbone,
                    options.photos,
                    options.backbone_weights,
                    options.minutes,
                    options.out,
                    options.seed,
                )
            case "evaluate":
                _evaluate(options.model, options.photos, options.save)
            case "export":
                config = export(options.run, options.store, options.version)
                print(f"exported {config.network.backbone} {config.tag}")
    except (TrainingError, BackboneWeightsError, CheckpointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _evaluate(model: Path, photos: Path, save: bool) -> None:
    checkpoint = Checkpoint.load(model)
    scores = evaluate(checkpoint.colorizer, photos)
    print(format_table(scores))
    if save:
        measured = {"date": datetime.now(UTC).date().isoformat(), "digest": checkpoint.config.digest, **scores}
        (model / METRICS_FILE).write_text(json.dumps(measured, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
