import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from training.data import (
    CenterCrops,
    EndlessShuffle,
    TrainingCrops,
    find_photos,
    split_lab,
    training_batches,
)
from training.errors import NoPhotosError


def test_photos_are_found_in_order_and_nothing_else(photos: Path) -> None:
    assert [path.name for path in find_photos(photos)] == ["0.jpg", "1.png", "2.png", "3.png", "4.png", "5.png"]


def test_an_empty_folder_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(NoPhotosError, match=str(tmp_path)):
        find_photos(tmp_path)


def test_crops_are_seeded_by_their_position(photos: Path) -> None:
    crops = TrainingCrops(find_photos(photos), seed=1)
    assert crops[7, 0].shape == (3, 224, 224)
    assert crops[7, 0].dtype == torch.uint8
    assert torch.equal(crops[7, 0], crops[7, 0])
    assert not torch.equal(crops[7, 0], crops[8, 0])
    assert not torch.equal(crops[7, 0], TrainingCrops(find_photos(photos), seed=2)[7, 0])


def test_crops_stay_inside_the_photograph(tmp_path: Path) -> None:
    Image.new("RGB", (300, 240), (200, 30, 30)).save(tmp_path / "red.png")
    crops = TrainingCrops(find_photos(tmp_path), seed=0)
    for position in range(40):
        assert (crops[position, 0] == torch.tensor([200, 30, 30], dtype=torch.uint8).view(3, 1, 1)).all()


def test_the_next_photograph_stands_in_for_a_broken_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.jpg").write_bytes(b"not a photograph")
    Image.new("RGB", (256, 256), (200, 30, 30)).save(tmp_path / "b.png")
    crops = TrainingCrops(find_photos(tmp_path), seed=0)
    assert torch.equal(crops[0, 0], crops[0, 1])
    assert "a.jpg cannot be read" in caplog.text
    (tmp_path / "b.png").write_bytes(b"neither")
    with pytest.raises(NoPhotosError, match="none of the 2 photographs"):
        crops[0, 0]


def test_half_of_the_crops_are_mirrored(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint8), (256, 1))
    Image.fromarray(np.stack([ramp] * 3, axis=2)).save(tmp_path / "ramp.png")
    crops = TrainingCrops(find_photos(tmp_path), seed=0)
    mirrored = sum(int(crop[0, 0, 0] > crop[0, 0, -1]) for crop in (crops[position, 0] for position in range(60)))
    assert 15 < mirrored < 45


def test_the_center_crop_is_the_middle_of_the_short_side_at_256(tmp_path: Path) -> None:
    pixels = np.zeros((256, 352, 3), np.uint8)
    pixels[16:240, 64:288] = 77
    Image.fromarray(pixels).save(tmp_path / "exact.png")
    Image.fromarray(pixels).resize((704, 512), Image.Resampling.NEAREST).save(tmp_path / "larger.png")
    exact, larger = (CenterCrops(find_photos(tmp_path))[index] for index in range(2))
    assert (exact == 77).all()
    assert larger.shape == (3, 224, 224)
    assert (larger[:, 8:-8, 8:-8] == 77).all()


def test_every_epoch_shows_every_photograph_once_in_a_new_order() -> None:
    draws = list(itertools.islice(EndlessShuffle(5, seed=0, start=0), 15))
    assert [position for position, _ in draws] == list(range(15))
    epochs = [[index for _, index in draws[start : start + 5]] for start in (0, 5, 10)]
    assert all(sorted(epoch) == [0, 1, 2, 3, 4] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_a_stream_goes_on_where_it_was_left() -> None:
    whole = list(itertools.islice(EndlessShuffle(5, seed=3, start=0), 20))
    assert list(itertools.islice(EndlessShuffle(5, seed=3, start=7), 13)) == whole[7:]


def test_batches_are_endless_crops(photos: Path) -> None:
    files = find_photos(photos)
    batches = list(itertools.islice(training_batches(files, 4, seed=0, start=0), 3))
    assert [tuple(batch.shape) for batch in batches] == [(4, 3, 224, 224)] * 3
    position, index = next(iter(EndlessShuffle(len(files), 0, 0)))
    assert torch.equal(batches[0][0], TrainingCrops(files, 0)[position, index])


def test_lab_is_split_into_lightness_and_scaled_colour() -> None:
    rgb = torch.tensor([255, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1).expand(2, 3, 4, 5)
    lightness, target = split_lab(rgb)
    assert lightness.shape == (2, 1, 4, 5)
    assert target.shape == (2, 2, 4, 5)
    # CIELAB of sRGB's red
    assert lightness[0, 0, 0, 0].item() == pytest.approx(53.24, abs=0.01)
    assert (target[0, :, 0, 0] * 128).tolist() == pytest.approx([80.09, 67.20], abs=0.01)
