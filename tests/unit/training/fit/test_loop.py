import csv
import os
import signal
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from service.network.backbones import BackboneName, BackboneWeightsError
from service.network.checkpoint import Checkpoint
from tests.unit.training.processes import read_until
from tests.unit.training.tiny import tiny_recipe, tiny_run
from training.__main__ import main
from training.errors import OtherRunError, PhotoSetError, RecipeError
from training.fit.log import LOG_FILE
from training.fit.loop import draw_weights, fit
from training.fit.processes import Processes
from training.fit.recipe import Recipe
from training.fit.run import CHECKPOINT_FILE, Run
from training.photos.faces import FACES_FILE
from training.photos.sets import open_photos

MOBILENET = BackboneName.MOBILENET_V2
ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="module")
def many_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty small ones of blurred random colours: enough for some to be held back."""
    folder = tmp_path_factory.mktemp("many")
    rng = np.random.default_rng(0)
    for index in range(60):
        blots = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
        blots.resize((64, 64), Image.Resampling.BICUBIC).save(folder / f"{index:02}.png")
    return folder


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """The folder of a run with a tiny network that has seen nothing yet."""
    tiny_run().save(tmp_path / CHECKPOINT_FILE)
    return tmp_path


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / LOG_FILE).open(newline="") as stream:
        return list(csv.DictReader(stream))


def begin(folder: Path, **changes: Any) -> Recipe:
    folder.mkdir(exist_ok=True)
    run = tiny_run(**changes)
    run.save(folder / CHECKPOINT_FILE)
    return run.recipe


def test_a_run_is_validated_logged_and_says_what_it_saw(many_photos: Path, tmp_path: Path) -> None:
    recipe = begin(tmp_path, photographs=20, validate_every=8)
    run = fit(MOBILENET, many_photos, recipe, tmp_path)
    assert run.photos_seen == 20
    assert [row["photos_seen"] for row in rows(tmp_path)] == ["8", "16", "20"]
    assert all(0 < float(row["loss"]) < 1 and 0 < float(row["validation_loss"]) < 1 for row in rows(tmp_path))
    assert float(rows(tmp_path)[-1]["learning_rate"]) == 0
    assert any(tmp_path.glob("events.out.tfevents.*"))
    saved = Run.load(tmp_path / CHECKPOINT_FILE)
    assert (saved.photos_seen, saved.best_loss) == (20, min(float(row["validation_loss"]) for row in rows(tmp_path)))
    counts = saved.provenance["photographs"]
    assert counts["train"] + counts["validation"] == 60
    assert counts["validation"] > 0
    assert counts["unreadable"] == counts["near_grey"] == 0


def test_a_few_photographs_are_all_trained_on(photos: Path, begun: Path, caplog: pytest.LogCaptureFixture) -> None:
    fit(MOBILENET, photos, tiny_recipe(), begun)
    assert "too few photographs" in caplog.text
    assert [(row["photos_seen"], row["validation_loss"]) for row in rows(begun)] == [("12", "")]


def test_a_run_can_stop_early(many_photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = begin(tmp_path, photographs=400, validate_every=4, patience=1)
    losses = iter([0.3, 0.2, 0.4])
    monkeypatch.setattr(Run, "validation_loss", lambda _run, _rgb: next(losses))
    assert fit(MOBILENET, many_photos, recipe, tmp_path).photos_seen == 12
    assert fit(MOBILENET, many_photos, recipe, tmp_path).photos_seen == 12
    assert [row["validation_loss"] for row in rows(tmp_path)] == ["0.3", "0.2", "0.4"]


def test_kill_9_loses_nothing_but_minutes(many_photos: Path, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    changes = {"photographs": 28, "validate_every": 12}
    recipe = begin(whole, **changes)
    begin(killed, **changes)
    script = dedent(f"""
        from pathlib import Path
        from service.network.backbones import BackboneName
        from tests.unit.training.tiny import tiny_recipe
        from training.fit.loop import draw_weights, fit
        recipe = tiny_recipe(**{changes!r})
        fit(BackboneName.MOBILENET_V2, Path({str(many_photos)!r}), recipe, Path({str(killed)!r}), save_every_s=0)
    """)
    # Sums are taken in the same order only by as many threads.
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(torch.get_num_threads())}
    with subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, env=environment) as process:
        read_until(process, b" 16/28 ")  # what was seen before is in a checkpoint
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert 12 <= Run.load(killed / CHECKPOINT_FILE).photos_seen < 28
    (killed / "checkpoint.partial").write_bytes(b"half of one")
    resumed = fit(MOBILENET, many_photos, recipe, killed, save_every_s=0)
    expected = fit(MOBILENET, many_photos, recipe, whole)
    for ours, theirs in ((resumed.model, expected.model), (resumed.averaged(), expected.averaged())):
        pairs = zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True)
        assert all(torch.equal(first, second) for first, second in pairs)
    assert [int(row["photos_seen"]) for row in rows(killed)] == list(range(4, 29, 4))
    validations = [
        [row["validation_loss"] for row in rows(folder) if row["validation_loss"]] for folder in (whole, killed)
    ]
    assert validations[0] == validations[1]


def test_sigterm_saves_and_exits(photos: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "long.toml"
    recipe.write_text("photographs = 1_000_000\nbatch_size = 4\ncrop_sizes = [{ side = 32 }]\n")
    out = tmp_path / "run"
    begin(out, photographs=1_000_000)
    command = [sys.executable, "-m", "training", "fit", "--backbone", "mobilenet_v2", "--photos", str(photos)]
    command += ["--recipe", str(recipe), "--out", str(out)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, cwd=ROOT) as process:
        read_until(process, b" 4/1000000 ")
        process.terminate()
    assert process.returncode == 0
    photos_seen = Run.load(out / CHECKPOINT_FILE).photos_seen
    assert photos_seen >= 4
    assert [int(row["photos_seen"]) for row in rows(out)] == [photos_seen]


@pytest.mark.parametrize(
    ("backbone", "recipe", "seed"),
    [(BackboneName.RESNET101, {}, 0), (MOBILENET, {}, 1), (MOBILENET, {"photographs": 16}, 0)],
    ids=["backbone", "seed", "recipe"],
)
def test_a_run_is_not_resumed_as_another(
    backbone: BackboneName, recipe: dict[str, int], seed: int, photos: Path, begun: Path
) -> None:
    with pytest.raises(OtherRunError, match=r'mobilenet_v2 with seed 0 .*"photographs":12'):
        fit(backbone, photos, tiny_recipe(**recipe), begun, seed)


def test_a_finished_run_is_left_alone_and_signal_handlers_are_given_back(photos: Path, begun: Path) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    fit(MOBILENET, photos, tiny_recipe(), begun)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    files = {file: file.stat().st_mtime_ns for file in begun.iterdir()}
    assert fit(MOBILENET, photos, tiny_recipe(), begun).photos_seen == 12
    assert {file: file.stat().st_mtime_ns for file in begun.iterdir()} == files


def test_a_missing_trunk_stops_before_training(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(BackboneWeightsError):
        fit(MOBILENET, photos, tiny_recipe(), tmp_path / "run", backbone_weights=tmp_path / "none.safetensors")


def test_a_batch_must_be_divisible(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="3 processes cannot share a batch_size of 4"):
        fit(MOBILENET, photos, tiny_recipe(), tmp_path, processes=Processes(0, 3))


def test_the_command_line_goes_from_photographs_to_a_model_and_on_from_it(
    photos: Path, trunk_weights: Path, tmp_path: Path
) -> None:
    recipe, store = tmp_path / "short.toml", tmp_path / "store"
    recipe.write_text("batch_size = 2\ncrop_sizes = [{ side = 32 }]\n")
    fitting = ["fit", "--backbone", "mobilenet_v2", "--photos", str(photos), "--recipe", str(recipe)]
    fitting += ["--photographs", "2"]
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    assert main([*fitting, "--out", first, "--backbone-weights", str(trunk_weights)]) == 0
    assert main(["export", "--run", first, "--store", str(store), "--version", "0.1.0"]) == 0
    assert main(["export", "--run", first, "--store", str(store), "--version", "0.2.0"]) == 1  # never over another
    begin_from = Checkpoint.load(store / "mobilenet_v2", MOBILENET).config
    assert begin_from.training["photos_seen"] == 2
    assert begin_from.training["photographs"]["train"] + begin_from.training["photographs"]["validation"] == 6
    assert main([*fitting, "--out", second, "--initial", str(store / "mobilenet_v2")]) == 0
    assert Run.load(Path(second) / CHECKPOINT_FILE).provenance["initial"] == begin_from.tag


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["fit", "--backbone", "mobilenet_v2", "--photos", "nowhere", "--out", "run"], "no photographs"),
        (["fit", "--backbone", "mobilenet_v2", "--photos", ".", "--out", "run", "--recipe", "magic"], "no recipe"),
        (["export", "--run", "nowhere", "--store", "store", "--version", "1"], "no checkpoint.pt in nowhere"),
    ],
)
def test_mistakes_are_one_clear_line(
    arguments: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {complaint}")
    assert error.count("\n") == 1


def test_photographs_weigh_what_the_recipe_says_of_names_and_faces(photos: Path) -> None:
    photo_set = open_photos(photos)
    names = [photo_set.name(index) for index in range(6)]
    faced = photos / FACES_FILE
    faced.write_text(
        f"file,left,top,right,bottom\n{names[1]},0,0,0.5,0.5\n{names[1]},0.5,0,1,0.5\n{names[4]},0,0,1,1\n"
    )
    try:
        recipe = Recipe(face_weight=3, weights={"4": 0.5, "5": 0.25})
        assert draw_weights(photo_set, [1, 2, 4, 5], recipe).tolist() == [3, 1, 1.5, 0.25]
        assert draw_weights(photo_set, [1, 2], Recipe()).tolist() == [1, 1]
    finally:
        faced.unlink()


def test_a_recipe_that_weighs_faces_needs_to_know_them(photos: Path, trunk_weights: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe(face_weight=2)
    with pytest.raises(PhotoSetError, match=r"faces\.csv does not exist"):
        fit(MOBILENET, photos, recipe, tmp_path, backbone_weights=trunk_weights)


def test_hints_for_a_model_that_takes_none_are_refused_before_anything_is_done(
    photos: Path, model_store: Path, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match="takes none"):
        fit(MOBILENET, photos, tiny_recipe(hint_share=0.5), tmp_path / "run", initial=model_store / "mobilenet_v2")
    assert not (tmp_path / "run").exists()


def test_a_run_begins_with_the_recipe_s_network(photos: Path, trunk_weights: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe(photographs=4, fusion_strides=(32, 8), hint_share=0.5, confidence=True)
    run = fit(MOBILENET, photos, recipe, tmp_path, backbone_weights=trunk_weights)
    assert (run.config.fusion_strides, run.config.hints, run.config.confidence) == ((32, 8), True, True)
    again = Run.load(tmp_path / CHECKPOINT_FILE)
    assert again.config == run.config
