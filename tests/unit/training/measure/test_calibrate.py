from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from service.network.checkpoint import Checkpoint, save_checkpoint
from service.network.chroma import ChromaMap
from service.network.colorizer import Colorizer
from training.__main__ import main
from training.errors import NoPhotosError, OtherRunError, UnreachableColorError
from training.measure import metrics
from training.measure.answers import deliver, with_calibration
from training.measure.calibrate import calibrate
from training.photos.crops import CenterCrops, split_lab
from training.photos.selection import select
from training.photos.sets import open_photos


@pytest.fixture
def model(tmp_path: Path, mobilenet_colorizer: Colorizer) -> Path:
    """Calibrated before, badly, and measured then."""
    chroma_map = ChromaMap()
    chroma_map.gains.fill_(3.0)
    colorizer = with_calibration(mobilenet_colorizer, chroma_map)
    folder = tmp_path / "model"
    digest = save_checkpoint(colorizer, folder, "1.0.0", {}).digest
    (folder / "metrics.json").write_text(f'{{"digest": "{digest}"}}')
    return folder


def test_pictures_become_as_colourful_as_asked_for(model: Path, two_photos: Path) -> None:
    returned = calibrate(model, two_photos, ratio=0.5)
    checkpoint = Checkpoint.load(model)
    assert checkpoint.config == returned
    assert checkpoint.metrics == {}  # they were another calibration's
    assert checkpoint.config.training["calibration"]["photographs"] == 2
    crops = CenterCrops(open_photos(two_photos), [0, 1])
    truth = torch.stack([crops[index] for index in range(len(crops))])
    lightness, _ = split_lab(truth)
    coloured = deliver(lightness, checkpoint.colorizer.predict(lightness))
    ratio = metrics.colorfulness(coloured).mean() / metrics.colorfulness(truth).mean()
    assert ratio.item() == pytest.approx(0.5, abs=0.01)


def test_ways_to_calibrate_are_compared(model: Path, two_photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (model / "config.json").read_bytes()
    arguments = ["calibrate", "--model", str(model), "--photos", str(two_photos), "--ratio", "0.5"]
    assert main([*arguments, "--compare", str(two_photos)]) == 0
    rows = [line.split(" | ")[0] for line in capsys.readouterr().out.splitlines()]
    for row in ("chroma map", "power law", "plain gain", "none", "grey"):
        assert f"| {row}" in rows
    assert (model / "config.json").read_bytes() == before


def test_only_what_a_run_held_back_is_looked_at(model: Path, photos: Path, tmp_path: Path) -> None:
    cache = tmp_path / "selection.npz"
    assert select(open_photos(photos), cache).validation == []  # six are too few
    with pytest.raises(NoPhotosError, match="none of the photographs"):
        calibrate(model, photos, 0.5, cache)


def test_another_runs_selection_is_refused(model: Path, photos: Path, two_photos: Path, tmp_path: Path) -> None:
    select(open_photos(photos), tmp_path / "selection.npz")
    with pytest.raises(OtherRunError, match="other photographs"):
        calibrate(model, two_photos, 0.5, tmp_path / "selection.npz")
    with pytest.raises(OtherRunError, match="does not say"):
        calibrate(model, two_photos, 0.5, tmp_path / "none.npz")
    assert not (tmp_path / "none.npz").exists()


def test_a_grey_model_cannot_be_calibrated(tmp_path: Path, mobilenet_colorizer: Colorizer, two_photos: Path) -> None:
    grey = Colorizer(mobilenet_colorizer.config).eval()  # untrained, it answers grey
    model = tmp_path / "model"
    save_checkpoint(grey, model, "1.0.0", {})
    before = (model / "config.json").read_bytes()
    with pytest.raises(UnreachableColorError, match="no chroma map"):
        calibrate(model, two_photos, ratio=1.0)
    assert (model / "config.json").read_bytes() == before


def test_photographs_without_colour_say_nothing(model: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    Image.fromarray(np.full((256, 256), 99, np.uint8)).save(tmp_path / "photos" / "grey.png")
    with pytest.raises(NoPhotosError, match="any colour"):
        calibrate(model, tmp_path / "photos", ratio=1.0)
