import copy
from pathlib import Path

import pytest
import torch
from PIL import Image

from service.network.checkpoint import Checkpoint, save_checkpoint
from service.network.colorizer import Colorizer
from tests.unit.training.tiny import tiny_run
from training.__main__ import main
from training.errors import NoModelsError
from training.fit.run import Run
from training.measure.ablation import RATIOS, ablate, compare, load_networks
from training.measure.answers import with_calibration
from training.measure.power_law import PowerLaw


def test_every_recipe_starts_from_the_same_model_and_gets_a_row(
    tmp_path: Path,
    photos: Path,
    mobilenet_colorizer: Colorizer,
    trunk_weights: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    initial = save_checkpoint(mobilenet_colorizer, tmp_path / "initial", "1.0.0", {})
    recipes = []
    for loss in ("mse", "classification"):
        recipes.append(tmp_path / f"{loss}.toml")
        recipes[-1].write_text(f'loss = "{loss}"\nbatch_size = 2\ncrop_sizes = [{{ side = 64 }}]\n')
    arguments = ["ablate", *map(str, recipes), "--initial", str(tmp_path / "initial"), "--photographs", "4"]
    arguments += ["--photos", str(photos), "--validation", str(photos), "--out", str(tmp_path / "runs")]
    assert main([*arguments, "--imagenet-weights", str(trunk_weights)]) == 0
    rows = [line.split(" | ")[0].removeprefix("| ") for line in capsys.readouterr().out.splitlines()]
    for row in ("start", "mse", "classification", "grey"):
        assert row in rows
    for recipe in recipes:
        run = Run.load(tmp_path / "runs" / recipe.stem / "checkpoint.pt")
        assert run.photos_seen == 4
        assert run.provenance["initial"] == initial.tag
    assert Checkpoint.load(tmp_path / "initial").config == initial  # measured, not changed


@pytest.fixture
def two_photos(two_photos: Path) -> Path:
    """With a face in one of them, green as grass: it is looked for, but does not count."""
    (two_photos / "faces.csv").write_text("file,left,top,right,bottom\n1.png,0.2,0.6,0.6,0.9\n")
    return two_photos


def test_networks_are_compared_at_equal_colourfulness(two_photos: Path, mobilenet_colorizer: Colorizer) -> None:
    twice = with_calibration(mobilenet_colorizer, PowerLaw(2.0, 0.5))  # which counts for nothing here
    scores = compare({"once": mobilenet_colorizer, "twice": twice}, two_photos, two_photos)
    assert list(scores) == [f"{name} at {ratio:.2f}" for name in ("once", "twice") for ratio in RATIOS]
    assert scores["once at 0.70"] == scores["twice at 0.70"]
    gains = [scores[f"once at {ratio:.2f}"]["gain"]["value"] for ratio in RATIOS]
    assert 0 < gains[0] < gains[1] < gains[2]
    assert "faces_chroma_ratio" not in scores["once at 0.70"]


def test_faces_are_compared_too(two_photos: Path, mobilenet_colorizer: Colorizer) -> None:
    Image.new("RGB", (300, 200), (200, 150, 120)).save(two_photos / "face.png")
    with (two_photos / "faces.csv").open("a") as stream:
        stream.write("face.png,0.2,0.2,0.6,0.8\n")
    scores = compare({"model": mobilenet_colorizer}, two_photos, two_photos)
    ratios = [scores[f"model at {ratio:.2f}"]["faces_chroma_ratio"]["value"] for ratio in RATIOS]
    assert 0 < ratios[0] < ratios[1] < ratios[2]


def test_runs_and_models_are_compared_alike(
    tmp_path: Path,
    two_photos: Path,
    model_store: Path,
    trunk_weights: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "begun").mkdir()
    tiny_run().save(tmp_path / "begun" / "checkpoint.pt")
    arguments = ["compare", str(tmp_path / "begun"), str(model_store / "mobilenet_v2"), "--photos", str(two_photos)]
    assert main([*arguments, "--imagenet-weights", str(trunk_weights)]) == 0
    table = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0] for line in table[2:]] == [f"| mobilenet_v2 at {ratio:.2f}" for ratio in RATIOS]
    assert "begun is too grey" in caplog.text  # no step was made


def test_what_is_too_grey_for_any_gain_has_one_row_in_an_ablation(
    tmp_path: Path, photos: Path, mobilenet_colorizer: Colorizer, caplog: pytest.LogCaptureFixture
) -> None:
    grey = copy.deepcopy(mobilenet_colorizer)
    for parameter in grey.decoder.head.parameters():
        torch.nn.init.zeros_(parameter)
    save_checkpoint(grey, tmp_path / "grey", "1.0.0", {})
    scores = ablate([], tmp_path / "grey", photos, photos, 4, tmp_path / "runs").scores
    assert "start is too grey for any gain" in caplog.text
    assert "start" in scores
    assert "start uncalibrated" not in scores


def test_folders_of_one_name_are_refused(tmp_path: Path, model_store: Path) -> None:
    (tmp_path / "mobilenet_v2").mkdir()
    with pytest.raises(NoModelsError, match="mobilenet_v2"):
        load_networks([model_store / "mobilenet_v2", tmp_path / "mobilenet_v2"])
