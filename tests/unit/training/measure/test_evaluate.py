import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import deltaE_ciede2000, rgb2lab

from service.network.checkpoint import Checkpoint, CheckpointConfig, WeightFile
from service.network.chroma import ChromaMap
from service.network.colorizer import Colorizer
from training.__main__ import main
from training.errors import NoModelsError, NoPhotosError, UnreadablePhotoError
from training.measure.answers import StoredModel, deliver, load_models, with_calibration
from training.measure.evaluate import Evaluation, evaluate, save_metrics
from training.measure.frechet import load_feature_extractor
from training.measure.reliability import Reliability, ReliabilityBin
from training.measure.scores import Scores
from training.measure.tables import format_hints, format_reliability, format_tables
from training.photos.crops import CenterCrops, split_lab
from training.photos.sets import open_photos


def in_memory(colorizer: Colorizer, version: str, folder: Path) -> StoredModel:
    weights = [WeightFile(file="model.safetensors", size=0, sha256="0" * 64)]
    config = CheckpointConfig(version=version, network=colorizer.config, weights=weights, training={})
    return StoredModel(folder, Checkpoint(config, colorizer, {}))


def by_name(models: list[StoredModel]) -> dict[str, Colorizer]:
    return {model.name: model.checkpoint.colorizer for model in models}


@pytest.fixture(scope="module")
def models(
    mobilenet_colorizer: Colorizer, resnet_colorizer: Colorizer, tmp_path_factory: pytest.TempPathFactory
) -> list[StoredModel]:
    """One of each backbone; the first with a chroma map."""
    chroma_map = ChromaMap()
    chroma_map.gains.fill_(1.4)
    calibrated = with_calibration(mobilenet_colorizer, chroma_map)
    folders = [tmp_path_factory.mktemp(name) for name in ("mobilenet", "resnet")]
    return [in_memory(calibrated, "1.1.0", folders[0]), in_memory(resnet_colorizer, "1.0.0", folders[1])]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pictures") / "sheets"


@pytest.fixture(scope="module")
def evaluation(models: list[StoredModel], photos: Path, trunk_weights: Path, pictures: Path) -> Evaluation:
    return evaluate(by_name(models), photos, load_feature_extractor(trunk_weights), pictures)


@pytest.fixture(scope="module")
def scores(evaluation: Evaluation) -> Scores:
    return evaluation.scores


@pytest.fixture(scope="module")
def truth(photos: Path) -> torch.Tensor:
    crops = CenterCrops(open_photos(photos), list(range(6)))
    return torch.stack([crops[index] for index in range(len(crops))])


@pytest.fixture(scope="module")
def target(truth: torch.Tensor) -> torch.Tensor:
    return split_lab(truth)[1]


def test_rows(scores: Scores, models: list[StoredModel], evaluation: Evaluation) -> None:
    mobilenet, resnet = (model.name for model in models)
    assert mobilenet.startswith("mobilenet_v2 1.1.0+")
    without = f"{mobilenet} uncalibrated"
    assert list(scores) == [mobilenet, without, resnet, "blend", "grey", "constant_mean", "always_b", "truth"]
    assert evaluation.photos == 6


def test_grey_scores_the_power_of_the_colours(scores: Scores, target: torch.Tensor) -> None:
    assert scores["grey"]["mse"]["value"] == pytest.approx(target.square().mean().item(), rel=1e-4)
    assert scores["grey"]["mse_ratio_to_grey"] == {"value": 1, "low": 1, "high": 1}
    assert scores["grey"]["colorfulness"]["value"] == pytest.approx(0, abs=0.2)  # single levels, from rounding


def test_the_constant_is_the_best_there_is(scores: Scores, target: torch.Tensor) -> None:
    variance = (target - target.mean(dim=(0, 2, 3), keepdim=True)).square().mean().item()
    assert scores["constant_mean"]["mse"]["value"] == pytest.approx(variance, rel=1e-4)


def test_always_b_scores_the_share_of_b(scores: Scores, target: torch.Tensor) -> None:
    share = (target[:, 1] > target[:, 0]).float().mean().item()
    assert scores["always_b"]["channel_argmax_accuracy"]["value"] == pytest.approx(share, rel=1e-4)
    assert scores["grey"]["channel_argmax_accuracy"]["value"] == pytest.approx(1 - share, abs=1e-4)


def test_models_are_measured_as_served(scores: Scores, models: list[StoredModel], truth: torch.Tensor) -> None:
    lightness, target = split_lab(truth)
    answers = [model.checkpoint.colorizer.predict(lightness) for model in models]
    rows = {models[0].name: answers[0], models[1].name: answers[1], "blend": (answers[0] + answers[1]) / 2}
    for row, ab in rows.items():
        assert scores[row]["mse"]["value"] == pytest.approx((ab / 128 - target).square().mean().item(), rel=1e-3)


def test_and_also_uncalibrated(scores: Scores, models: list[StoredModel], truth: torch.Tensor) -> None:
    lightness, target = split_lab(truth)
    with torch.inference_mode():
        raw = models[0].checkpoint.colorizer(lightness).ab
    row = scores[f"{models[0].name} uncalibrated"]
    assert row["mse"]["value"] == pytest.approx((raw - target).square().mean().item(), rel=1e-3)


def test_differences_are_those_of_the_delivered_pictures(
    scores: Scores, models: list[StoredModel], truth: torch.Tensor
) -> None:
    lightness, _ = split_lab(truth)
    delivered = deliver(lightness, models[1].checkpoint.colorizer.predict(lightness))
    pair = (rgb2lab(rgb.permute(0, 2, 3, 1).numpy()) for rgb in (delivered, truth))
    differences = deltaE_ciede2000(*pair)
    row = scores[models[1].name]
    assert row["ciede2000"]["value"] == pytest.approx(differences.mean(), abs=0.01)
    assert row["ciede2000_p95"]["value"] == pytest.approx(np.percentile(differences, 95), abs=0.06)


def test_raw_area_is_one_minus_the_mean_error(scores: Scores, target: torch.Tensor) -> None:
    raw = 1 - (128 * target).square().sum(dim=1).sqrt().mean().item() / 150
    assert scores["grey"]["auc"]["value"] == pytest.approx(raw, rel=1e-4)


def test_figures_lie_in_their_intervals(scores: Scores) -> None:
    for row in scores.values():
        for figure in row.values():
            if "low" in figure:
                assert figure["low"] <= figure["value"] <= figure["high"]
    assert "low" not in scores["grey"]["frechet"]  # none rather than a wrong one


def test_contact_sheets_are_made_along_the_way(pictures: Path, scores: Scores) -> None:
    (sheet,) = pictures.iterdir()
    with Image.open(sheet) as image:
        columns, lines = 5, 6  # grey, two models, blend, truth
        assert image.width == columns * 144
        assert image.height > lines * 144


def test_saved_figures_are_the_model_s_own(
    models: list[StoredModel], evaluation: Evaluation, scores: Scores, tmp_path: Path
) -> None:
    save_metrics(models[0], evaluation)
    saved = json.loads((models[0].folder / "metrics.json").read_text())
    assert saved["digest"] == models[0].checkpoint.config.digest
    assert saved["photos"] == 6
    assert saved["blend_of"] == [model.name for model in models]
    assert saved["scores"] == {row: figures for row, figures in scores.items() if row != models[1].name}


def test_confidence_and_hints_are_measured_where_there_are_any(
    models: list[StoredModel], photos: Path, tmp_path: Path
) -> None:
    config = replace(models[0].checkpoint.config.network, confidence=True, hints=True)
    newer = in_memory(Colorizer(config).eval(), "2.0.0", tmp_path)
    evaluation = evaluate(by_name([models[0], newer]), photos)
    assert list(evaluation.reliability) == list(evaluation.hints) == [newer.name]
    pixels = sum(one.pixels for one in evaluation.reliability[newer.name].bins)
    assert pixels == 6 * 224 * 224
    save_metrics(newer, evaluation)
    saved = json.loads((tmp_path / "metrics.json").read_text())
    assert sum(one["pixels"] for one in saved["reliability"]["bins"]) == pixels
    assert saved["hints"]["50"]["psnr"] == evaluation.hints[newer.name][50]["psnr"]


def test_tables_of_confidence_and_hints() -> None:
    table = format_reliability(Reliability([ReliabilityBin(2.0, 2.5, 30), ReliabilityBin(8.0, 7.0, 10)]))
    assert table.splitlines()[2:] == ["| 1 | 2.00 | 2.50 |", "| 2 | 8.00 | 7.00 |", "| calibration error | | 0.62 |"]
    table = format_hints({0: {"psnr": {"value": 24.1}}, 1: {"psnr": {"value": 25.0}, "difference": {"value": 3.21}}})
    assert table.splitlines()[2:] == ["| 0 | 24.10 | – |", "| 1 | 25.00 | 3.2 |"]


def test_a_store_may_hold_many(model_store: Path, tmp_path: Path, photos: Path) -> None:
    (model,) = load_models(model_store)
    assert model.folder == model_store / "mobilenet_v2"
    measured = evaluate(by_name([model]), photos)
    assert "blend" not in measured.scores
    assert "frechet" not in measured.scores["grey"]
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        for file in model.folder.iterdir():
            (tmp_path / name / file.name).write_bytes(file.read_bytes())
    with pytest.raises(NoModelsError, match=r"one.*other"):
        load_models(tmp_path)


def test_an_empty_store_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoModelsError, match=tmp_path.name):
        load_models(tmp_path)


def test_a_set_without_colour_cannot_measure_any(tmp_path: Path, models: list[StoredModel]) -> None:
    grey = np.tile(np.linspace(20, 230, 256).astype(np.uint8), (256, 1))
    Image.fromarray(grey).save(tmp_path / "grey.png")
    with pytest.raises(NoPhotosError, match="any colour"):
        evaluate(by_name(models), tmp_path)


def test_a_photograph_that_cannot_be_read_is_named(tmp_path: Path, models: list[StoredModel]) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"not a photograph")
    with pytest.raises(UnreadablePhotoError, match=r"broken\.jpg"):
        evaluate(by_name(models), tmp_path)


def test_tables_have_a_row_for_every_answer(scores: Scores, models: list[StoredModel]) -> None:
    errors, colors = (table.splitlines() for table in format_tables(scores).split("\n\n"))
    answers = [models[0].name, f"{models[0].name} uncalibrated", models[1].name]
    for table, last in ((errors, "always b"), (colors, "truth")):
        names = [line.split(" | ")[0].strip("| ") for line in table[2:]]
        assert names == [*answers, "blend", "grey", "constant mean", last]
        assert len({line.count("|") for line in table}) == 1


def test_cells_show_intervals() -> None:
    table = format_tables({"grey": {"mse": {"value": 0.01914, "low": 0.0181, "high": 0.0203}}})
    assert "| grey | 0.0191 [0.0181, 0.0203] | – |" in table


def test_runs_without_a_folder_for_their_curves_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["evaluate", "--photos", "photos", "--runs", "runs"])
    assert "--pictures" in capsys.readouterr().err
