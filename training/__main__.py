"""The command line of training: `python -m training COMMAND`; `--help` tells of every command."""

import argparse
import logging
import sys
from pathlib import Path

from service.network.backbones import BackboneName, BackboneWeightsError
from service.network.checkpoint import METRICS_FILE, CheckpointError
from training.errors import TrainingError
from training.fit.export import export
from training.fit.loop import SELECTION_FILE, fit
from training.fit.processes import joined
from training.fit.recipe import Recipe
from training.measure.ablation import ablate, compare, load_networks
from training.measure.answers import load_models
from training.measure.calibrate import calibrate, compare_calibrations
from training.measure.canvas import Canvas
from training.measure.evaluate import evaluate, save_metrics
from training.measure.frechet import load_feature_extractor
from training.measure.pictures import plot_losses
from training.measure.served import ServedEvaluation, evaluate_served, save_served
from training.measure.tables import (
    format_comparison,
    format_faces,
    format_hints,
    format_reliability,
    format_served,
    format_tables,
)
from training.memory import return_freed_tensors
from training.photos.faces import read_faces, write_faces
from training.photos.pack import pack
from training.photos.sets import open_photos
from training.transplant.loop import grow
from training.transplant.run import Curriculum


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("pack", help="write a set of photographs into one file, which needs no decoding")
    command.add_argument("photos", type=Path, metavar="DIR", help="folder of colour photographs")
    command.add_argument("--out", type=Path, required=True, help="folder of the packed set; must not hold one yet")
    command = commands.add_parser("faces", help="find the faces in a set of photographs, for recipes that weigh them")
    command.add_argument("photos", type=Path, metavar="DIR", help="the set's folder, to which faces.csv is written")
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
    command = commands.add_parser("served", help="measure them on whole photographs, through the service's own code")
    command.add_argument("--photos", type=Path, required=True, help="folder of colour photographs")
    command.add_argument("--store", type=Path, default=Path("model_store"), help="every model below it is measured")
    command.add_argument(
        "--canvas", type=Canvas, choices=list(Canvas), default=Canvas.SQUARE, help="shape in which the network sees one"
    )
    command.add_argument("--pictures", type=Path, help="folder for contact sheets: of the faces, or of each source")
    command.add_argument("--save", action="store_true", help=f"add the figures to each model's {METRICS_FILE}")
    command = commands.add_parser("calibrate", help="calibrate a model's chroma with photographs")
    command.add_argument("--model", type=Path, required=True, help="the model's folder")
    command.add_argument("--photos", type=Path, required=True, help="folder of colour photographs")
    command.add_argument("--selection", type=Path, help=f"a run's {SELECTION_FILE}: take those that it held back")
    command.add_argument("--ratio", type=float, default=0.8, help="colourfulness wanted, as a share of the truth's")
    command.add_argument(
        "--compare", type=Path, help="folder to measure ways of calibrating on, instead of writing one"
    )
    command = commands.add_parser("ablate", help="train a model on with several recipes and compare them")
    command.add_argument("recipes", nargs="+", help="names of files in training/recipes/, or TOML files")
    command.add_argument("--initial", type=Path, required=True, help="folder of the model they all start from")
    command.add_argument("--photos", type=Path, required=True, help="folder of colour photographs to train on")
    command.add_argument("--validation", type=Path, required=True, help="folder of colour photographs to measure on")
    command.add_argument("--photographs", type=int, default=5000, help="crops each is trained on")
    command.add_argument("--imagenet-weights", type=Path, help="MobileNetV2's (safetensors); default: download")
    command.add_argument("--out", type=Path, required=True, help="folder of the runs; unfinished ones are resumed")
    command = commands.add_parser("compare", help="measure models and runs at equal colourfulness")
    command.add_argument("networks", nargs="+", type=Path, help="folders of models, or of runs, finished or not")
    command.add_argument("--photos", type=Path, required=True, help="folder of colour photographs")
    command.add_argument("--faces", type=Path, help="folder of colour photographs in which faces were found")
    command.add_argument("--imagenet-weights", type=Path, help="MobileNetV2's (safetensors); default: download")
    command = commands.add_parser("transplant", help="make a ResNet-101 model of a MobileNetV2 one")
    command.add_argument("--teacher", type=Path, required=True, help="the MobileNetV2 model's folder")
    command.add_argument("--photos", type=Path, required=True, help="folder of colour photographs")
    command.add_argument("--photographs", type=int, default=45_000, help="crops its layers are taught with")
    command.add_argument("--out", type=Path, required=True, help="folder of run and model; resumed if unfinished")
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
            case "faces":
                photos = open_photos(options.photos)
                skipped = write_faces(photos)
                faces = read_faces(photos)
                count = sum(map(len, faces.values()))
                print(f"found {count} faces in {len(faces)} photographs; {skipped} could not be read")
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
            case "served":
                _served(options.store, options.photos, options.canvas, options.pictures, options.save)
            case "calibrate":
                fitted_on = options.photos, options.ratio, options.selection
                if options.compare is not None:
                    print(_format_all(compare_calibrations(options.model, options.compare, *fitted_on)))
                else:
                    config = calibrate(options.model, *fitted_on)
                    print(f"calibrated {config.network.backbone} {config.tag}")
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
            case "compare":
                extractor = load_feature_extractor(options.imagenet_weights)
                scores = compare(load_networks(options.networks), options.photos, options.faces, extractor)
                print(format_comparison(scores))
            case "transplant":
                curriculum = Curriculum(options.photographs)
                grown = grow(options.teacher, options.photos, options.out, curriculum, options.seed)
                if grown is not None:
                    print(f"wrote {grown.network.backbone} {grown.tag}")
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
    for row, reliability in evaluation.reliability.items():
        print(f"\nConfidence of {row}:\n\n{format_reliability(reliability)}")
    for row, hints in evaluation.hints.items():
        print(f"\nHints to {row}:\n\n{format_hints(hints)}")
    if save:
        for model in models:
            save_metrics(model, evaluation)


def _served(store: Path, photos: Path, canvas: Canvas, pictures: Path | None, save: bool) -> None:
    models = load_models(store)
    names = [model.name for model in models]
    colorizers = {model.name: model.checkpoint.colorizer for model in models}
    evaluation = evaluate_served(colorizers, photos, canvas, pictures)
    print(_format_all(evaluation))
    if save:
        for model in models:
            save_served(model, photos, evaluation, [name for name in names if name != model.name])


def _format_all(evaluation: ServedEvaluation) -> str:
    parts = [f"{evaluation.photos} photographs:", format_served(evaluation.scores)]
    if evaluation.sources:
        parts += [f"Mean over {len(evaluation.sources)} sources:", format_served(evaluation.source_scores)]
    if evaluation.faces:
        parts.append(format_faces(evaluation.faces))
    return "\n\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
