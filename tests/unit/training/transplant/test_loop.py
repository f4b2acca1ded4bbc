"""Taught on after interruptions, logged, and at the end a model."""

import csv
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from service.network.backbones import BackboneName
from service.network.checkpoint import Checkpoint, save_checkpoint
from service.network.colorizer import Colorizer
from tests.unit.training.processes import read_until
from tests.unit.training.tiny import TINY, tiny_run
from training.__main__ import main
from training.errors import ExistingModelError, OtherRunError
from training.fit.log import LOG_FILE
from training.fit.run import CHECKPOINT_FILE, Run
from training.transplant.loop import grow
from training.transplant.run import Curriculum, DistillationRun
from training.transplant.surgery import transplant

ROOT = Path(__file__).parents[4]

SHORT = Curriculum(photographs=17, batch_size=2, side_apart=32, side_together=64)
"""Four steps apart and four together, and a photograph too many."""


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a narrow model that has everything a network can have."""
    torch.manual_seed(0)
    network = Colorizer(replace(TINY, fusion_strides=(32, 16, 8, 4), hints=True, confidence=True, calibrated=True))
    folder = tmp_path_factory.mktemp("teacher")
    save_checkpoint(network, folder, "1.0.0", {})
    return folder


@pytest.fixture(scope="module")
def beginning(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a run that has seen nothing yet."""
    source = Checkpoint.load(teacher)
    torch.manual_seed(0)
    student = Colorizer(replace(source.config.network.uncalibrated(), backbone=BackboneName.RESNET101))
    ends = transplant(source.colorizer, student, torch.rand(4, 1, 64, 64) * 100)
    file = tmp_path_factory.mktemp("beginning") / CHECKPOINT_FILE
    DistillationRun(source, student, ends, SHORT, 0).save(file)
    return file


@pytest.fixture
def begun(beginning: Path, tmp_path: Path) -> Path:
    """The folder of such a run."""
    return copy_of(beginning, tmp_path / "begun")


def copy_of(beginning: Path, folder: Path) -> Path:
    folder.mkdir()
    shutil.copy(beginning, folder)
    return folder


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / LOG_FILE).open(newline="") as stream:
        return list(csv.DictReader(stream))


def seen(folder: Path, teacher: Path) -> int:
    return DistillationRun.load(folder / CHECKPOINT_FILE, Checkpoint.load(teacher), SHORT, 0).photos_seen


def start(begun: Path, teacher: Path, photos: Path, save_every_s: float) -> "subprocess.Popen[bytes]":
    script = dedent(f"""
        from pathlib import Path
        from training.transplant.loop import grow
        from training.transplant.run import Curriculum
        grow(Path({str(teacher)!r}), Path({str(photos)!r}), Path({str(begun)!r}), {SHORT!r}, 0, {save_every_s})
    """)
    # Sums are taken in the same order only by as many threads.
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(torch.get_num_threads())}
    return subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, env=environment)


def test_kill_9_loses_nothing_but_minutes(teacher: Path, beginning: Path, photos: Path, tmp_path: Path) -> None:
    whole, killed = (copy_of(beginning, tmp_path / name) for name in ("whole", "killed"))
    with start(killed, teacher, photos, save_every_s=0) as process:
        read_until(process, b" 10/16 ")  # into the second phase; what was seen before is in a checkpoint
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert 8 <= seen(killed, teacher) < 16
    (killed / "checkpoint.partial").write_bytes(b"half of one")
    assert grow(teacher, photos, killed, SHORT, save_every_s=0) is not None
    config = grow(teacher, photos, whole, SHORT)
    ours, theirs = (Checkpoint.load(folder, BackboneName.RESNET101) for folder in (killed, whole))
    assert ours.config.digest == theirs.config.digest
    states = [torch.load(folder / CHECKPOINT_FILE, weights_only=False)["student"] for folder in (killed, whole)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert [int(row["photos_seen"]) for row in rows(killed)] == list(range(2, 17, 2))
    # One row a phase, as their losses are not of one kind.
    assert [row["photos_seen"] for row in rows(whole)] == ["8", "16"]
    assert all(float(row["loss"]) > 0 and row["validation_loss"] == "" for row in rows(whole))
    assert float(rows(whole)[-1]["learning_rate"]) == 0
    events = EventAccumulator(str(whole))
    events.Reload()
    assert [event.step for event in events.Scalars("parts/layer2")] == [8, 16]
    assert [event.step for event in events.Scalars("parts/colors")] == [16]
    assert config is not None
    assert config.training["transplanted_from"] == Checkpoint.load(teacher).config.tag
    assert config.training["photos_seen"] == 16


def test_a_kill_after_one_phase_begins_the_next_as_if_nothing_had_happened(
    teacher: Path, begun: Path, photos: Path
) -> None:
    with start(begun, teacher, photos, save_every_s=1000) as process:
        read_until(process, b" 10/16 ")
        process.kill()
    assert seen(begun, teacher) == 8
    state = torch.load(begun / CHECKPOINT_FILE, weights_only=False)
    assert state["optimizer"]["state"] == {}


def test_sigterm_saves_and_exits(teacher: Path, begun: Path, photos: Path) -> None:
    with start(begun, teacher, photos, save_every_s=1000) as process:
        read_until(process, b" 2/16 ")
        process.terminate()
    assert process.returncode == 0
    assert 2 <= seen(begun, teacher) < 16
    assert int(rows(begun)[-1]["photos_seen"]) == seen(begun, teacher)
    assert not (begun / "config.json").exists()


def test_a_finished_run_is_left_alone_and_a_lost_model_written_again(teacher: Path, begun: Path, photos: Path) -> None:
    config = grow(teacher, photos, begun, SHORT)
    files = {file: file.stat().st_mtime_ns for file in begun.iterdir()}
    assert grow(teacher, photos, begun, SHORT) == config
    assert {file: file.stat().st_mtime_ns for file in begun.iterdir()} == files
    (begun / "config.json").unlink()  # killed before it was written
    again = grow(teacher, photos, begun, SHORT)
    assert config is not None
    assert again is not None
    assert again.digest == config.digest


@pytest.mark.parametrize(
    ("curriculum", "seed"), [(replace(SHORT, photographs=20), 0), (SHORT, 1)], ids=["curriculum", "seed"]
)
def test_a_run_is_not_resumed_as_another(
    curriculum: Curriculum, seed: int, teacher: Path, begun: Path, photos: Path
) -> None:
    with pytest.raises(OtherRunError, match=r"transplant from 1.0.0\+.* with seed 0 and .*photographs=17"):
        grow(teacher, photos, begun, curriculum, seed)


def test_a_run_is_not_resumed_with_another_teacher(
    mobilenet_colorizer: Colorizer, begun: Path, photos: Path, tmp_path: Path
) -> None:
    save_checkpoint(mobilenet_colorizer, tmp_path / "other", "1.0.0", {})
    with pytest.raises(OtherRunError, match="another folder"):
        grow(tmp_path / "other", photos, begun, SHORT)


def test_a_run_of_fit_is_none_of_this(teacher: Path, photos: Path, tmp_path: Path) -> None:
    tiny_run().save(tmp_path / CHECKPOINT_FILE)
    with pytest.raises(OtherRunError, match="no transplant"):
        grow(teacher, photos, tmp_path, SHORT)


def test_a_transplant_of_another_version_is_refused(teacher: Path, photos: Path, begun: Path) -> None:
    with torch.serialization.safe_globals([BackboneName]):
        state = torch.load(begun / CHECKPOINT_FILE, weights_only=True)
    state["config"]["saturation_gain"] = 1.0
    torch.save(state, begun / CHECKPOINT_FILE)
    with pytest.raises(OtherRunError, match=r"another version.*saturation_gain"):
        grow(teacher, photos, begun, SHORT)


def test_it_is_none_of_fits_runs(begun: Path) -> None:
    with pytest.raises(OtherRunError, match="a transplant"):
        Run.load(begun / CHECKPOINT_FILE)


def test_the_command_makes_a_model_to_start_from(
    teacher: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["transplant", "--teacher", str(teacher), "--photos", str(photos), "--photographs", "16"]
    arguments += ["--out", str(tmp_path / "resnet101")]
    assert main(arguments) == 0
    made = Checkpoint.load(tmp_path / "resnet101", BackboneName.RESNET101).config
    assert f"wrote resnet101 {made.tag}" in capsys.readouterr().out
    assert (made.network.fusion_strides, made.network.hints, made.network.confidence) == ((32, 16, 8, 4), True, True)
    assert not made.network.calibrated  # the teacher's was fitted to the teacher


def test_it_is_never_over_another_model(teacher: Path, photos: Path) -> None:
    with pytest.raises(ExistingModelError, match="there is a model in"):
        grow(teacher, photos, teacher, SHORT)
