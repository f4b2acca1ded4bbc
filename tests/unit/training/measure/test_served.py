import json
from pathlib import Path
from shutil import copy, copytree

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import peak_signal_noise_ratio

from service.imaging.photograph import inspect
from service.imaging.recompose import recompose
from service.imaging.upsample import reduce
from service.network.checkpoint import Checkpoint
from service.network.colorizer import Colorizer
from training.__main__ import main
from training.errors import NoPhotosError
from training.measure.answers import Answers, load_models
from training.measure.canvas import Canvas
from training.measure.evaluate import evaluate, save_metrics
from training.measure.pictures import PHOTO_THUMBNAIL
from training.measure.served import ServedEvaluation, evaluate_served, serve
from training.photos.sets import open_photos


@pytest.fixture(scope="module")
def two_sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten photographs of one source, eleven of another that is less colourful, and two of a third."""
    folder = tmp_path_factory.mktemp("sources")
    rng = np.random.default_rng(0)
    for source, count, reach in (("vivid-set", 10, 90), ("dull", 11, 15), ("few", 2, 60)):
        for number in range(count):
            colors = rng.uniform(128 - reach, 128 + reach, (3, 4, 3)).astype(np.uint8)
            Image.fromarray(colors).resize((64, 48), Image.Resampling.BICUBIC).save(folder / f"{source}-{number}.png")
    return folder


@pytest.fixture(scope="module")
def evaluation(two_sources: Path, mobilenet_colorizer: Colorizer) -> ServedEvaluation:
    return evaluate_served({"model": mobilenet_colorizer}, two_sources, Canvas.SQUARE)


def test_pictures_are_what_the_service_answers(photos: Path, mobilenet_colorizer: Colorizer) -> None:
    (photo,) = serve(open_photos(photos), [1], Answers({"model": mobilenet_colorizer}), Canvas.SQUARE)
    assert photo.name == "1.png"
    lightness = inspect((photos / "1.png").read_bytes(), 10**6).decode().lightness
    ab = mobilenet_colorizer.predict(reduce(lightness, 224)[None])[0]
    assert torch.equal(photo.pictures["model"], recompose(lightness, ab).permute(2, 0, 1))
    assert torch.equal(photo.pictures["grey"], recompose(lightness, torch.zeros(2, 1, 1)).permute(2, 0, 1))


def test_figures_are_means_over_photographs(
    evaluation: ServedEvaluation, two_sources: Path, mobilenet_colorizer: Colorizer
) -> None:
    differences, above, excess = [], [], []
    photo_set = open_photos(two_sources)
    for photo in serve(photo_set, range(len(photo_set)), Answers({"model": mobilenet_colorizer}), Canvas.SQUARE):
        truth, model, grey = (photo.pictures[row].permute(1, 2, 0).numpy() for row in ("truth", "model", "grey"))
        true_lab, lab = rgb2lab(truth), rgb2lab(model)
        differences.append(deltaE_ciede2000(true_lab, lab).mean())
        above.append(peak_signal_noise_ratio(truth, model) - peak_signal_noise_ratio(truth, grey))
        excess.append((np.hypot(*lab[..., 1:].T) > np.hypot(*true_lab[..., 1:].T) + 25).mean())
    scores = evaluation.scores["model"]
    assert evaluation.photos == len(differences) == 23
    assert scores["ciede2000"]["value"] == pytest.approx(np.mean(differences), abs=0.02)
    assert scores["psnr_above_grey"]["value"] == pytest.approx(np.mean(above), abs=0.01)
    assert scores["excess"]["value"] == pytest.approx(np.mean(excess), abs=1e-3)
    assert evaluation.scores["grey"]["ciede2000_ratio_to_grey"] == {"value": 1, "low": 1, "high": 1}


def test_sheets_show_each_source_apart(two_sources: Path, tmp_path: Path, mobilenet_colorizer: Colorizer) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/more").mkdir()
    for name in ("dull-0.png", "dull-1.png", "vivid-set-0.png"):
        copy(two_sources / name, tmp_path / "photos")
    copy(two_sources / "few-0.png", tmp_path / "photos/more")
    copy(two_sources / "few-1.png", tmp_path / "photos/nameless.png")
    evaluate_served({"model": mobilenet_colorizer}, tmp_path / "photos", Canvas.SQUARE, tmp_path / "sheets")
    with Image.open(tmp_path / "sheets/dull-01.jpg") as two, Image.open(tmp_path / "sheets/vivid-set-01.jpg") as one:
        assert two.height - one.height == PHOTO_THUMBNAIL
        assert two.width == one.width == 2 * PHOTO_THUMBNAIL
    names = {file.name for file in (tmp_path / "sheets").iterdir()}
    assert names == {"dull-01.jpg", "vivid-set-01.jpg", "more-few-01.jpg", "photographs-01.jpg"}


def test_every_large_source_counts_once(
    evaluation: ServedEvaluation, two_sources: Path, tmp_path: Path, mobilenet_colorizer: Colorizer
) -> None:
    assert evaluation.sources == {"dull": 11, "vivid-set": 10}
    alone = []
    for source in evaluation.sources:
        (tmp_path / source).mkdir()
        for file in two_sources.glob(f"{source}-*.png"):
            copy(file, tmp_path / source)
        alone.append(evaluate_served({"model": mobilenet_colorizer}, tmp_path / source, Canvas.SQUARE))
    for figure, estimate in evaluation.source_scores["model"].items():
        values = [one.scores["model"][figure]["value"] for one in alone]
        assert estimate["value"] == pytest.approx(np.mean(values))
        assert estimate["low"] <= estimate["value"] <= estimate["high"]


def test_the_canvas_is_what_the_network_sees(photos: Path, mobilenet_colorizer: Colorizer) -> None:
    answers = Answers({"model": mobilenet_colorizer})
    square, aspect = (next(serve(open_photos(photos), [1], answers, canvas)).pictures for canvas in Canvas)
    assert square["model"].shape == aspect["model"].shape == (3, 260, 300)
    assert not torch.equal(square["model"], aspect["model"])
    assert torch.equal(square["grey"], aspect["grey"])


def test_a_set_without_colour_cannot_measure_any(tmp_path: Path, mobilenet_colorizer: Colorizer) -> None:
    Image.fromarray(np.tile(np.linspace(20, 230, 64).astype(np.uint8), (64, 1))).save(tmp_path / "grey.png")
    with pytest.raises(NoPhotosError, match="any colour"):
        evaluate_served({"model": mobilenet_colorizer}, tmp_path, Canvas.SQUARE)


def test_figures_are_kept_beside_those_of_the_crops(
    model_store: Path,
    two_sources: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store = tmp_path / "store"
    copytree(model_store, store)
    skin = tmp_path / "skin"
    skin.mkdir()
    Image.new("RGB", (300, 200), (200, 150, 120)).save(skin / "face-1.png")
    (skin / "faces.csv").write_text("file,left,top,right,bottom\nface-1.png,0.2,0.2,0.6,0.8\n")
    served = ["served", "--store", str(store), "--photos", str(skin), "--canvas", "aspect", "--save"]
    assert main([*served, "--pictures", str(tmp_path / "sheets")]) == 0
    assert "| large (1) | mobilenet_v2 1.2.3+" in capsys.readouterr().out
    assert [file.name for file in (tmp_path / "sheets").iterdir()] == ["sheet-01.jpg"]
    (model,) = load_models(store)
    save_metrics(model, evaluate({model.name: model.checkpoint.colorizer}, two_sources))
    served[4] = str(two_sources)
    assert main(served) == 0
    metrics = Checkpoint.load(store / "mobilenet_v2").metrics
    assert metrics["scores"]["grey"]
    assert list(metrics["served"]) == ["skin", two_sources.name]
    assert metrics["served"]["skin"]["canvas"] == "aspect"
    assert metrics["served"]["skin"]["faces"]["all"]["faces"] == 1
    assert list(metrics["served"][two_sources.name]["scores"]) == [model.name, "grey"]
    assert json.loads((store / "mobilenet_v2" / "metrics.json").read_text())["digest"] == metrics["digest"]
