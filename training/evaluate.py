"""Measures colorizers on a folder of photographs, beside the answers that need no network."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from service.imaging import color
from service.imaging.recompose import recompose
from service.network.colorizer import Colorizer
from service.network.preprocessing import AB_SCALE
from training import metrics
from training.data import CenterCrops, find_photos, split_lab
from training.errors import NoPhotosError

BATCH_SIZE = 16

MIN_COLOR = 1e-3
"""A set whose every |ab/128| is smaller is grey but for float rounding: there is nothing to measure."""

Predict = Callable[[Tensor], Tensor]
"""L* (B, 1, 224, 224) → ab/128 (B, 2, 224, 224)."""

Scores = dict[str, float]


def evaluate(colorizer: Colorizer, photos: Path) -> dict[str, Scores]:
    """Mean scores over the 224×224 centre crops of all photographs below a folder.

    The rows: `model`; `grey`, which has no colour; `constant_mean`, the mean colour of these very photographs, so the
    best any constant can do; `always_b`, which always answers b > a and is there for the accuracy alone.

    Raises:
        NoPhotosError: The folder holds no photographs, or none with any colour.
        UnreadablePhotoError: One of them cannot be read.
    """
    crops = CenterCrops(find_photos(photos))
    mean, largest = _mean_target(crops)
    if largest < MIN_COLOR:
        raise NoPhotosError(f"no photograph below {photos} has any colour to compare with")
    predictors: dict[str, Predict] = {
        "model": lambda lightness: colorizer.predict(lightness) / AB_SCALE,
        "grey": lambda lightness: lightness.new_zeros(len(lightness), 2, *lightness.shape[2:]),
        "constant_mean": lambda lightness: mean.expand(len(lightness), 2, *lightness.shape[2:]),
    }
    sums: dict[str, dict[str, float]] = {name: {} for name in (*predictors, "truth")}
    always_b = 0.0
    for rgb in tqdm(_batches(crops), total=-(-len(crops) // BATCH_SIZE), unit="batch"):
        lightness, target = split_lab(rgb)
        for name, predict in predictors.items():
            _add(sums[name], _scores(lightness, predict(lightness), target, rgb))
        _add(sums["truth"], {"colorfulness": metrics.colorfulness(rgb)})
        always_b += target.argmax(dim=1).float().mean(dim=(1, 2)).sum().item()
    means = {name: {key: total / len(crops) for key, total in row.items()} for name, row in sums.items()}
    for name in predictors:
        means[name]["colorfulness_ratio"] = means[name]["colorfulness"] / means["truth"]["colorfulness"]
        means[name]["mse_ratio_to_grey"] = means[name]["mse"] / means["grey"]["mse"]
    return means | {"always_b": {"channel_argmax_accuracy": always_b / len(crops)}, "set": {"photos": len(crops)}}


def format_table(scores: Mapping[str, Scores]) -> str:
    """The scores as a Markdown table, a row an answer."""
    columns = {
        "mse": "MSE on ab/128",
        "mse_ratio_to_grey": "÷ grey's",
        "channel_argmax_accuracy": "channel argmax accuracy",
        "psnr": "PSNR, dB",
        "ciede2000": "CIEDE2000",
        "colorfulness": "colourfulness",
        "colorfulness_ratio": "÷ truth's",
    }
    digits = {"mse": 5, "psnr": 2, "ciede2000": 2, "colorfulness": 1, "colorfulness_ratio": 2}
    lines = ["| | " + " | ".join(columns.values()) + " |", "|---" * (len(columns) + 1) + "|"]
    for name in ("model", "grey", "constant_mean", "always_b", "truth"):
        row = scores[name]
        cells = (f"{row[key]:.{digits.get(key, 3)}f}" if key in row else "–" for key in columns)
        lines.append(f"| {name.replace('_', ' ')} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _batches(crops: CenterCrops) -> Iterator[Tensor]:
    return iter(DataLoader(crops, batch_size=BATCH_SIZE, num_workers=0))


def _mean_target(crops: CenterCrops) -> tuple[Tensor, float]:
    """Mean ab/128 over all pixels, (1, 2, 1, 1), and the largest |ab/128| of any."""
    total = torch.zeros(1, 2, 1, 1, dtype=torch.float64)
    largest = 0.0
    for rgb in _batches(crops):
        _, target = split_lab(rgb)
        total += target.double().mean(dim=(2, 3), keepdim=True).sum(dim=0, keepdim=True)
        largest = max(largest, target.abs().max().item())
    return (total / len(crops)).float(), largest


def _scores(lightness: Tensor, predicted: Tensor, target: Tensor, truth: Tensor) -> dict[str, Tensor]:
    ab = predicted * AB_SCALE
    # The pictures as the service would deliver them, gamut handling and rounding included.
    pictures = zip(lightness, ab, strict=True)
    rgb = torch.stack([recompose(one_lightness[0], one_ab, 1.0).permute(2, 0, 1) for one_lightness, one_ab in pictures])
    return {
        "mse": metrics.squared_error(predicted, target),
        "channel_argmax_accuracy": metrics.channel_argmax_accuracy(predicted, target),
        "psnr": metrics.psnr(rgb, truth),
        "ciede2000": metrics.ciede2000(color.rgb_to_lab(rgb.float() / 255), color.rgb_to_lab(truth.float() / 255)),
        "colorfulness": metrics.colorfulness(rgb),
    }


def _add(sums: dict[str, float], scores: Mapping[str, Tensor]) -> None:
    for key, values in scores.items():
        sums[key] = sums.get(key, 0.0) + values.sum().item()
