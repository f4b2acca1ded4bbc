import random

import numpy as np
from PIL import Image

from training.photos.surroundings import surround

RED = Image.new("RGB", (96, 64), (200, 30, 30))


def pictures(count: int) -> list[Image.Image]:
    return [surround(RED, random.Random(seed)) for seed in range(count)]


def chroma(picture: Image.Image) -> np.ndarray:
    pixels = np.asarray(picture).astype(int)
    spread: np.ndarray = pixels.max(axis=2) - pixels.min(axis=2)
    return spread


def test_the_photograph_keeps_its_colours_and_the_rest_has_none() -> None:
    for picture in pictures(40):
        assert (picture.size, picture.mode) == (RED.size, "RGB")
        spread = chroma(picture)
        assert spread[20:44, 30:66].min() > 160  # the middle is always the photograph
        # At tilted and rounded edges a pixel may be a mixture.
        assert ((spread == 0) | (spread > 160)).mean() > 0.85


def test_surroundings_are_dark_light_and_between_and_of_many_widths() -> None:
    shares, levels = [], []
    for picture in pictures(60):
        around = chroma(picture) == 0
        shares.append(around.mean())
        levels.extend(np.asarray(picture)[around][:50, 0].tolist())
    assert min(shares) < 0.1
    assert 0.25 < max(shares) < 0.8
    counts = np.histogram(levels, bins=(0, 40, 200, 256))[0]
    assert (counts > 0.05 * len(levels)).all()


def test_equal_states_give_equal_pictures() -> None:
    first, again, other = (np.asarray(surround(RED, random.Random(seed))) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
