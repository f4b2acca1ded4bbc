"""The command line of training: `python -m training {pack,fit,transplant,calibrate,evaluate,ablate,export}`."""

import argparse
import logging
import sys
from pathlib import Path

from service.network.backbones import BackboneName, BackboneWeightsError
from service.network.checkpoint import METRICS_FILE, CheckpointError
from training.ablation import ablate
from training.answers import load_models
from training.calibrate import calibrate
from training.distillation import grow
from training.errors import TrainingError
from training.evaluate import evaluate, save_metrics
from training.export import export
from training.fit import fit
from training.frechet import load_feature_extractor
from training.memory import return_freed_tensors
from training.pack import pack
from training.photos import open_photos
from training.pictures import plot_losses
from training.processes import joined
from training.recipe import Recipe
from training.tables import format_tables


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("pack", help="write a set of photographs into one file, which needs no decoding")
    command.add_argument("photos", type=Path, metavar="DIR", help="folder of colour photographs")
    command.add_argument("--out", type=Path, required=True, help="folder of the packed set; must not hold one yet")
    command = commands.add_parser("fit", help="train a colorizer on a folder of photographs; torchrun starts several")
    command.add_argument("--backbone", type=BackboneName, choices=list(BackboneName), required=True)
    command.add_argument("--photos", type=Path, required=True, help="folder of colour photographs")
    command.add_argument("--backbone-weights", type=Path, help="ImageNet weights (safetensors); default: download")
    command.add_argument("--recipe", default="mse", help="name of a file in training/recipes/, or a TOML file")
    command.add_argument("--photographs", type=int, help="crops to train on; default: the recipe's")
    command.add_argument("--initial", type=Path, help="folder of a model to start from; default: an ImageNet trunk")
    command.add_argument("--out", type=Path, required=True, help="folder of the run; an unfinished one is resumed")
    command.add_argument("--seed", type=int, default=0)
    command = commands.add_parser("evaluate", help="measure the models of a store on a folder of photographs")
    command.add_argument("--photos", type=Path, required=True, help="folder of colour photographs")
    command.add_argument("--store", type=Path, default=Path("model_store"), help="every model below it is measured")
    command.add_argument("--imagenet-weights", type=Path, help="MobileNetV2's (safetensors); default: download")
    command.add_argument("--pictures", type=Path, help="folder for contact sheets and loss curves")
    command.add_argument("--runs", type=Path, help="folder of the runs whose loss curves are drawn")
    command.add_argument("--save", action="store_true", help=f"keep the figures in each model's {METRICS_FILE}")
    command = commands.add_parser("calibrate", help="fit a model's saturation to a folder of photographs")
    command.add_argument("--model", type=Path, required=True, help="the model's folder")
    command.add_argument("--photos", type=Path, required=True, help="folder of colour photographs")
    command.add_argument("--ratio", type=float, default=1.0, help="colourfulness wanted, as a share of the truth's")
    command = commands.add_parser("ablate", help="train a model on with several recipes and compare them")
    command.add_argument("recipes", nargs="+", help="names of files in training/recipes/, or TOML files")
    command.add_argument("--initial", type=Path, required=True, help="folder of the model they all start from")
    command.add_argument("--photos", type=Path, required=True, help="folder of colour photographs to train on")
    command.add_argument("--validation", type=Path, required=True, help="folder of colour photographs to measure on")
    command.add_argument("--photographs", type=int, default=5000, help="crops each is trained on")
    command.add_argument("--imagenet-weights", type=Path, help="MobileNetV2's (safetensors); default: download")
    command.add_argument("--out", type=Path, required=True, help="folder of the runs; unfinished ones are resumed")
    command = commands.add_parser("transplant", help="make a ResNet-101 model of a MobileNetV2 one")
    command.add_argument("--teacher", type=Path, required=True, help="the MobileNetV2 model's folder")
    command.add_argument("--photos", type=Path, required=True, help="folder of colour photographs")
    command.add_argument("--photographs", type=int, default=45_000, help="crops its layers are taught with")
    command.add_argument("--out", type=Path, required=True, help="folder of the model to write")
    command.add_argument("--seed", type=int, default=0)
    command = commands.add_parser("export", help="write a run's weights to the model store")
    command.add_argument("--run", type=Path, required=True, help="the run's folder")
    command.add_argument("--store", type=Path, required=True, help="the model store; must not hold this backbone yet")
    command.add_argument("--version", required=True, help="of the model, for instance 1.0.0")
    options = parser.parse_args(arguments)
    if options.command == "evaluate" and options.runs and not options.pictures:
        parser.error("--runs needs --pictures, the folder to draw their loss curves in")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    return_freed_tensors()
    try:
        match options.command:
            case "pack":
                photos = open_photos(options.photos)
                skipped = pack(photos, options.out)
                print(f"packed {len(photos) - skipped} photographs; {skipped} could not be read")
            case "fit":
                with joined() as processes:
                    fit(
                        options.backbone,
                        options.photos,
                        Recipe.load(options.recipe, options.photographs),
                        options.out,
                        options.seed,
                        options.initial,
                        options.backbone_weights,
                        processes,
                    )
            case "evaluate":
                _evaluate(
                    options.store,
                    options.photos,
                    options.imagenet_weights,
                    options.pictures,
                    options.runs,
                    options.save,
                )
            case "calibrate":
                network = calibrate(options.model, options.photos, options.ratio).network
                print(f"saturation: gain {network.saturation_gain}, exponent {network.saturation_exponent}")
            case "ablate":
                evaluation = ablate(
                    options.recipes,
                    options.initial,
                    options.photos,
                    options.validation,
                    options.photographs,
                    options.out,
                    load_feature_extractor(options.imagenet_weights),
                )
                print(format_tables(evaluation.scores))
            case "transplant":
                config = grow(options.teacher, options.photos, options.out, options.photographs, options.seed)
                print(f"wrote {config.network.backbone} {config.tag}")
            case "export":
                config = export(options.run, options.store, options.version)
                print(f"exported {config.network.backbone} {config.tag}")
    except (TrainingError, BackboneWeightsError, CheckpointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _evaluate(
    store: Path, photos: Path, imagenet_weights: Path | None, pictures: Path | None, runs: Path | None, save: bool
) -> None:
    models = load_models(store)
    # First, as it is soon done and a mistake in it would be a pity after the measuring.
    if runs is not None and pictures is not None:
        plot_losses(runs, pictures / "loss.png")
    colorizers = {model.name: model.checkpoint.colorizer for model in models}
    evaluation = evaluate(colorizers, photos, load_feature_extractor(imagenet_weights), pictures)
    print(format_tables(evaluation.scores))
    if save:
        for model in models:
            save_metrics(model, evaluation)


if __name__ == "__main__":
    sys.exit(main())
