import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from training.errors import NoPhotosError
from training.photos.crops import (
    CenterCrops,
    EndlessShuffle,
    TrainingCrops,
    split_lab,
    training_batches,
)
from training.photos.sets import open_photos


def training_crops(folder: Path, seed: int = 0, film_share: float = 0.0) -> TrainingCrops:
    photos = open_photos(folder)
    return TrainingCrops(photos, list(range(len(photos))), seed, film_share, lambda _position: 224)


def test_crops_are_seeded_by_their_position(photos: Path) -> None:
    crops = training_crops(photos, seed=1)
    rgb, lightness = crops[7, 0]
    assert (rgb.shape, rgb.dtype) == ((3, 224, 224), torch.uint8)
    assert (lightness.shape, lightness.dtype) == ((1, 224, 224), torch.float32)
    assert torch.equal(rgb, crops[7, 0][0])
    assert not torch.equal(rgb, crops[8, 0][0])
    assert not torch.equal(rgb, training_crops(photos, seed=2)[7, 0][0])


def test_the_lightness_is_the_crop_s_own_or_an_old_film_s(photos: Path) -> None:
    own, mixed, aged = (training_crops(photos, film_share=share) for share in (0, 0.5, 1))
    changed = surrounded = 0
    for position in range(10):
        rgb, lightness = own[position, 1]
        torch.testing.assert_close(lightness, split_lab(rgb[None])[0][0], atol=0.01, rtol=0)
        mixed_rgb, mixed_lightness = mixed[position, 1]
        aged_rgb, aged_lightness = aged[position, 1]
        # The same part of the photograph, in the same colours, whatever happens to its lightness, but for borders.
        assert torch.equal(mixed_rgb, rgb) or not torch.equal(mixed_lightness, lightness)
        surrounded += not torch.equal(aged_rgb, rgb)
        assert (aged_lightness - lightness).abs().mean() > 0.01
        assert 0 <= aged_lightness.min() <= aged_lightness.max() <= 100
        changed += not torch.equal(mixed_lightness, lightness)
    assert 0 < changed < 10
    assert 0 < surrounded < 8


def test_only_the_chosen_photographs_are_seen(tmp_path: Path) -> None:
    for index in range(3):
        Image.new("RGB", (300, 240), (100 * index, 30, 30)).save(tmp_path / f"{index}.png")
    photos = open_photos(tmp_path)
    crops = TrainingCrops(photos, [2, 0], seed=0, film_share=0, side=lambda _: 64)
    assert [int(crops[5, place][0][0, 0, 0]) for place in range(len(crops))] == [200, 0]
    assert [int(crop[0, 0, 0]) for crop in (CenterCrops(photos, [1])[0], CenterCrops(photos, [2])[0])] == [100, 200]


def test_crops_stay_inside_the_photograph(tmp_path: Path) -> None:
    Image.new("RGB", (300, 240), (200, 30, 30)).save(tmp_path / "red.png")
    crops = training_crops(tmp_path)
    for position in range(40):
        assert (crops[position, 0][0] == torch.tensor([200, 30, 30], dtype=torch.uint8).view(3, 1, 1)).all()


def test_the_next_photograph_stands_in_for_a_broken_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.jpg").write_bytes(b"not a photograph")
    Image.new("RGB", (256, 256), (200, 30, 30)).save(tmp_path / "b.png")
    crops = training_crops(tmp_path)
    assert torch.equal(crops[0, 0][0], crops[0, 1][0])
    assert "a.jpg cannot be read" in caplog.text
    (tmp_path / "b.png").write_bytes(b"neither")
    with pytest.raises(NoPhotosError, match="none of the 2 photographs"):
        crops[0, 0]


def test_half_of_the_crops_are_mirrored(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint8), (256, 1))
    Image.fromarray(np.stack([ramp] * 3, axis=2)).save(tmp_path / "ramp.png")
    crops = training_crops(tmp_path)
    mirrored = sum(int(rgb[0, 0, 0] > rgb[0, 0, -1]) for rgb, _ in (crops[position, 0] for position in range(60)))
    assert 15 < mirrored < 45


def test_the_center_crop_is_the_middle_of_the_short_side_at_256(tmp_path: Path) -> None:
    pixels = np.zeros((256, 352, 3), np.uint8)
    pixels[16:240, 64:288] = 77
    Image.fromarray(pixels).save(tmp_path / "exact.png")
    Image.fromarray(pixels).resize((704, 512), Image.Resampling.NEAREST).save(tmp_path / "larger.png")
    crops = CenterCrops(open_photos(tmp_path), [0, 1])
    exact, larger = crops[0], crops[1]
    assert (exact == 77).all()
    assert larger.shape == (3, 224, 224)
    assert (larger[:, 8:-8, 8:-8] == 77).all()


def test_a_photograph_that_is_224_square_is_its_own_center_crop(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(256, size=(224, 224, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "square.png")
    assert np.array_equal(CenterCrops(open_photos(tmp_path), [0])[0].permute(1, 2, 0), pixels)


def test_the_side_of_a_crop_is_its_position_s(photos: Path) -> None:
    crops = TrainingCrops(open_photos(photos), [0, 1], 0, 0.5, lambda position: 64 if position < 5 else 96)
    sides = [tuple(tensor.shape[1:]) for position in (4, 5) for tensor in crops[position, 0]]
    assert sides == [(64, 64), (64, 64), (96, 96), (96, 96)]


def equal_weights(count: int) -> Tensor:
    return torch.ones(count, dtype=torch.float64)


def test_every_epoch_shows_every_photograph_once_in_a_new_order() -> None:
    draws = list(itertools.islice(EndlessShuffle(equal_weights(5), seed=0, start=0), 15))
    assert [position for position, _ in draws] == list(range(15))
    epochs = [[index for _, index in draws[start : start + 5]] for start in (0, 5, 10)]
    assert all(sorted(epoch) == [0, 1, 2, 3, 4] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_photographs_are_drawn_as_often_as_they_weigh() -> None:
    weights = torch.tensor([3, 1, 0.5, 0.5], dtype=torch.float64)
    drawn = [place for _, place in itertools.islice(EndlessShuffle(weights, seed=1, start=0), 4 * 200)]
    counts = torch.bincount(torch.tensor(drawn), minlength=4) / 200 * 5 / 4
    torch.testing.assert_close(counts.double(), weights, atol=0.1, rtol=0)
    first = torch.bincount(torch.tensor(drawn[:4]), minlength=4)
    assert first[0] >= 2  # in every epoch, to within one


def test_a_stream_goes_on_where_it_was_left() -> None:
    weights = torch.tensor([1, 3, 1, 1, 2], dtype=torch.float64)
    whole = list(itertools.islice(EndlessShuffle(weights, seed=3, start=0), 20))
    assert list(itertools.islice(EndlessShuffle(weights, seed=3, start=7), 13)) == whole[7:]


def test_batches_are_endless_crops(photos: Path) -> None:
    crops = TrainingCrops(open_photos(photos), [5, 3, 1], 0, 0.5, lambda _: 64)
    batches = list(itertools.islice(training_batches(crops, equal_weights(3), 4, start=0), 3))
    assert [(rgb.shape, lightness.shape) for rgb, lightness in batches] == [((4, 3, 64, 64), (4, 1, 64, 64))] * 3
    for draw, rgb, lightness in zip(EndlessShuffle(equal_weights(3), 0, 0), *batches[0], strict=False):
        assert torch.equal(rgb, crops[draw][0])
        assert torch.equal(lightness, crops[draw][1])


def test_lab_is_split_into_lightness_and_scaled_colour() -> None:
    rgb = torch.tensor([255, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1).expand(2, 3, 4, 5)
    lightness, target = split_lab(rgb)
    assert lightness.shape == (2, 1, 4, 5)
    assert target.shape == (2, 2, 4, 5)
    # CIELAB of sRGB's red
    assert lightness[0, 0, 0, 0].item() == pytest.approx(53.24, abs=0.01)
    assert (target[0, :, 0, 0] * 128).tolist() == pytest.approx([80.09, 67.20], abs=0.01)
