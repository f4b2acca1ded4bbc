import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from service.network.backbones import BackboneName, BackboneWeightsError
from service.network.checkpoint import Checkpoint
from service.network.colorizer import ColorizerConfig
from training.__main__ import main
from training.data import TrainingCrops, find_photos
from training.errors import OtherRunError
from training.fit import CHECKPOINT_FILE, Recipe, Run, fit, learning_rate_factor

MOBILENET = BackboneName.MOBILENET_V2
TINY = ColorizerConfig(MOBILENET, (4, 8, 8, 8, 8), 8, (8, 8, 4, 4), 0.0)


@pytest.fixture
def batch(photos: Path) -> torch.Tensor:
    crops = TrainingCrops(find_photos(photos), seed=0)
    return torch.stack([crops[index, index] for index in range(4)])


def test_the_learning_rate_warms_up_and_cools_down_to_zero() -> None:
    assert learning_rate_factor(0, 0.1) == 0
    assert learning_rate_factor(0.05, 0.1) == pytest.approx(0.5)
    assert learning_rate_factor(0.1, 0.1) == pytest.approx(1)
    assert learning_rate_factor(0.55, 0.1) == pytest.approx(0.5)
    assert learning_rate_factor(1, 0.1) == pytest.approx(0)
    assert learning_rate_factor(1.1, 0.1) == pytest.approx(0)


def test_steps_learn(batch: torch.Tensor) -> None:
    run = Run(TINY, Recipe(learning_rate=3e-3))
    losses = [run.step(batch, 0.1) for _ in range(25)]
    assert losses[-1] < 0.7 * losses[0]
    assert run.photos_seen == 100


def test_the_backbone_learns_more_slowly(batch: torch.Tensor) -> None:
    run = Run(TINY, Recipe())
    run.step(batch, 0.5)
    rates = {group["lr"] for group in run.optimizer.param_groups}
    assert max(rates) == pytest.approx(10 * min(rates))


def test_norms_and_biases_are_not_decayed() -> None:
    for group in Run(TINY, Recipe()).optimizer.param_groups:
        assert all((parameter.ndim > 1) == (group["weight_decay"] > 0) for parameter in group["params"])


def test_the_average_follows_the_weights(batch: torch.Tensor) -> None:
    run = Run(TINY, Recipe(ema_decay=0.5))
    for _ in range(3):
        run.step(batch, 0.1)
    live, averaged = run.model.decoder.head.weight, run.averaged().decoder.head.weight
    assert averaged.any()
    assert not torch.equal(live, averaged)


def test_a_resumed_run_goes_on_exactly(batch: torch.Tensor, tmp_path: Path) -> None:
    run = Run(TINY, Recipe(seed=5))
    run.step(batch, 0.1)
    run.seconds = 12.5
    run.save(tmp_path / CHECKPOINT_FILE)
    resumed = Run.load(tmp_path / CHECKPOINT_FILE)
    assert (resumed.config, resumed.recipe, resumed.seconds, resumed.photos_seen) == (TINY, run.recipe, 12.5, 4)
    assert [run.step(batch, 0.2) for _ in range(2)] == pytest.approx(
        [resumed.step(batch, 0.2) for _ in range(2)], rel=1e-5
    )


def test_fit_writes_a_checkpoint_and_a_log_and_resumes(photos: Path, trunk_weights: Path, tmp_path: Path) -> None:
    first = fit(MOBILENET, photos, trunk_weights, minutes=0.02, out=tmp_path, seed=0)
    assert first.seconds >= 1.2
    second = fit(MOBILENET, photos, trunk_weights, minutes=first.seconds / 60 + 0.01, out=tmp_path, seed=0)
    assert second.photos_seen > first.photos_seen
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["photos_seen"] for line in lines] == [first.photos_seen, second.photos_seen]
    assert all(0 < line["loss"] < 1 for line in lines)


@pytest.mark.parametrize(("backbone", "seed"), [(BackboneName.RESNET101, 0), (MOBILENET, 1)])
def test_a_run_is_not_resumed_as_another(backbone: BackboneName, seed: int, photos: Path, tmp_path: Path) -> None:
    Run(TINY, Recipe(seed=0)).save(tmp_path / CHECKPOINT_FILE)
    with pytest.raises(OtherRunError, match="mobilenet_v2 with seed 0"):
        fit(backbone, photos, None, minutes=1, out=tmp_path, seed=seed)


def test_signal_handlers_are_given_back(photos: Path, tmp_path: Path) -> None:
    Run(TINY, Recipe()).save(tmp_path / CHECKPOINT_FILE)
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    fit(MOBILENET, photos, None, minutes=0.001, out=tmp_path, seed=0)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_a_finished_run_is_left_alone(photos: Path, trunk_weights: Path, tmp_path: Path) -> None:
    done = fit(MOBILENET, photos, trunk_weights, minutes=0.01, out=tmp_path, seed=0)
    again = fit(MOBILENET, photos, trunk_weights, minutes=0.01, out=tmp_path, seed=0)
    assert again.photos_seen == done.photos_seen


def test_a_missing_trunk_stops_before_training(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(BackboneWeightsError):
        fit(MOBILENET, photos, tmp_path / "none.safetensors", minutes=1, out=tmp_path / "run", seed=0)


def test_sigterm_saves_and_exits(photos: Path, trunk_weights: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "training", "fit", "--backbone", "mobilenet_v2", "--photos", str(photos)]
    command += ["--backbone-weights", str(trunk_weights), "--minutes", "60", "--out", str(tmp_path / "run")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env=os.environ | {"PYTHONUNBUFFERED": "1"})
    assert process.stderr is not None
    progress = b""
    while b"photographs" not in progress:  # the first step is done
        piece = os.read(process.stderr.fileno(), 1024)
        assert piece, progress  # or it has died
        progress += piece
    process.send_signal(signal.SIGTERM)
    reader = threading.Thread(target=process.communicate)  # the pipe must not fill up
    reader.start()
    reader.join(60)
    assert process.returncode == 0
    assert Run.load(tmp_path / "run" / CHECKPOINT_FILE).photos_seen > 0


def test_the_command_line_goes_from_photographs_to_a_measured_model(
    photos: Path, trunk_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, store = str(tmp_path / "run"), tmp_path / "store"
    fitting = ["fit", "--backbone", "mobilenet_v2", "--photos", str(photos), "--out", run, "--minutes", "0.02"]
    assert main([*fitting, "--backbone-weights", str(trunk_weights)]) == 0
    assert main(["export", "--run", run, "--store", str(store), "--version", "0.1.0"]) == 0
    assert main(["export", "--run", run, "--store", str(store), "--version", "0.2.0"]) == 1  # never over another
    model = store / "mobilenet_v2"
    assert Checkpoint.load(model).config.version == "0.1.0"
    assert main(["evaluate", "--model", str(model), "--photos", str(photos), "--save"]) == 0
    table = capsys.readouterr().out
    assert "| grey |" in table
    checkpoint = Checkpoint.load(model, MOBILENET)
    assert checkpoint.config.training["photos_seen"] > 0
    assert checkpoint.config.training["recipe"]["loss"] == "mse"
    assert checkpoint.metrics["digest"] == checkpoint.config.digest
    assert checkpoint.metrics["set"] == {"photos": 6}


@pytest.mark.parametrize(
    "arguments",
    [
        ["fit", "--backbone", "mobilenet_v2", "--photos", "nowhere", "--out", "run"],
        ["export", "--run", "nowhere", "--store", "store", "--version", "1"],
        ["evaluate", "--model", "mobilenet_v2", "--photos", "nowhere"],
    ],
)
def test_mistakes_are_one_clear_line(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: no ")
    assert error.count("\n") == 1
