"""The command line of training: `python -m training {fit,evaluate,export}`."""

import argparse
import logging
import sys
from pathlib import Path

from service.network.backbones import BackboneName, BackboneWeightsError
from training.data import NoPhotosError
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
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        fit(options.backbone, options.photos, options.backbone_weights, options.minutes, options.out, options.seed)
    except (NoPhotosError, BackboneWeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
