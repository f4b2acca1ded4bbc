import random

import numpy as np
import pytest
from PIL import Image

from training.photos.film import film


def test_equal_seeds_give_equal_pictures_of_the_same_size() -> None:
    noise = np.random.default_rng(0).integers(256, size=(60, 80, 3), dtype=np.uint8)
    photo = Image.fromarray(noise)
    for seed in range(20):
        aged = film(photo, random.Random(seed))
        assert (aged.mode, aged.size) == ("L", (80, 60))
        assert aged == film(photo, random.Random(seed))
    assert film(photo, random.Random(0)) != film(photo, random.Random(1))


@pytest.mark.parametrize(("level", "low", "high"), [(0, 0, 50), (255, 205, 255)])
def test_black_and_white_stay_nearly_so(level: int, low: int, high: int) -> None:
    photo = Image.new("RGB", (64, 64), (level, level, level))
    for seed in range(100):
        assert low <= np.asarray(film(photo, random.Random(seed))).mean() <= high


def test_brighter_greys_stay_brighter() -> None:
    ramp = Image.fromarray(np.tile(np.linspace(20, 235, 64, dtype=np.uint8)[None, :, None], (64, 1, 3)))
    for seed in range(100):
        columns = np.asarray(film(ramp, random.Random(seed)), np.float32).mean(axis=0)
        assert np.corrcoef(columns, np.arange(64))[0, 1] > 0.95


def test_some_films_are_blind_to_red_and_most_are_not() -> None:
    photo = Image.fromarray(np.array([[[220, 30, 30]] * 16 + [[30, 30, 220]] * 16] * 32, np.uint8))
    reds, blues = [], []
    for seed in range(200):
        aged = np.asarray(film(photo, random.Random(seed)), np.float32)
        reds.append(aged[:, :12].mean())
        blues.append(aged[:, 20:].mean())
    blind = np.array(blues) - np.array(reds) > 60
    assert 20 < blind.sum() < 100
    assert (np.array(reds) > np.array(blues)).sum() > 60


def test_grain_comes_and_goes_and_spares_black() -> None:
    def deviations(level: int) -> list[float]:
        photo = Image.new("RGB", (128, 128), (level, level, level))
        return [float(np.asarray(film(photo, random.Random(seed)), np.float32).std()) for seed in range(60)]

    middle = deviations(128)
    assert 15 < sum(deviation < 0.1 for deviation in middle) < 45
    assert 5 < max(middle) < 20
    assert np.mean(deviations(1)) < np.mean(middle) / 2
