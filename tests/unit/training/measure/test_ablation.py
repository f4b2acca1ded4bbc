from pathlib import Path

import pytest

from service.network.checkpoint import Checkpoint, save_checkpoint
from service.network.colorizer import Colorizer
from training.__main__ import main
from training.run import Run


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
        recipes[-1].write_text(f'loss = "{loss}"\nbatch_size = 2\ncrop_size = 64\n')
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
