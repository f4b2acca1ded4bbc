"""Pictures are found in scans to the pixel, and nothing is where there are only pictures."""

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.imaging.borders.boxes import Box
from service.imaging.borders.pictures import find_pictures

Lightness = NDArray[np.float32]


def picture(height: int, width: int, seed: int = 0) -> Lightness:
    """L* as photographs have it: large shapes and small ones, in [15, 85]."""
    rng = np.random.default_rng(seed)
    lightness = np.zeros((height, width))
    for size, share in ((4, 1.0), (12, 0.7), (48, 0.5)):
        knots = rng.uniform(-1, 1, (size, size))
        rows = np.array([np.interp(np.linspace(0, size - 1, width), np.arange(size), row) for row in knots])
        places = np.linspace(0, size - 1, height)
        lightness += share * np.array([np.interp(places, np.arange(size), column) for column in rows.T]).T
    low, high = lightness.min(), lightness.max()
    return np.asarray(15 + 70 * (lightness - low) / max(high - low, 1e-9), np.float32)


def sheet(height: int, width: int, level: float, grain: float = 0.5) -> Lightness:
    """Film, paper or a page."""
    grained = np.random.default_rng(1).normal(level, grain, (height, width))
    return grained.clip(0, 100).astype(np.float32)


def lay(scan: Lightness, shown: Lightness, top: int, left: int) -> Box:
    box = Box(top, left, top + shown.shape[0], left + shown.shape[1])
    scan[box.slices] = shown
    return box


@pytest.mark.parametrize("level", [1, 25, 50, 90, 97])
@pytest.mark.parametrize("widths", [(30, 30, 30, 30), (5, 60, 20, 11), (3, 3, 2, 3)], ids=["even", "uneven", "narrow"])
def test_borders_are_found_to_the_pixel(level: float, widths: tuple[int, int, int, int]) -> None:
    above, left, below, right = widths
    scan = sheet(300 + above + below, 420 + left + right, level)
    box = lay(scan, picture(300, 420), above, left)
    assert find_pictures(scan) == [box]


@pytest.mark.parametrize("level", [0, 100])
def test_borders_of_a_pixel_are_found(level: float) -> None:
    scan = np.pad(picture(900, 1300), 1, constant_values=level)
    assert find_pictures(scan) == [Box(1, 1, 901, 1301)]


@pytest.mark.parametrize("level", [2, 98])
@pytest.mark.parametrize("side", range(4))
def test_black_or_white_on_one_side_is_a_border(level: float, side: int) -> None:
    scan = np.concatenate((sheet(20, 420, level), picture(300, 420)))
    boxes = [Box(20, 0, 320, 420), Box(0, 20, 420, 320), Box(0, 0, 300, 420), Box(0, 0, 420, 300)]
    assert find_pictures(np.rot90(scan, side)) == [boxes[side]]


def test_grey_on_one_side_may_be_a_sky() -> None:
    assert find_pictures(np.concatenate((sheet(60, 420, 70), picture(300, 420)))) is None


def test_bars_above_and_below() -> None:
    bar = np.zeros((40, 420), np.float32)
    assert find_pictures(np.concatenate((bar, picture(300, 420), bar))) == [Box(40, 0, 340, 420)]


def test_paper_on_a_lid() -> None:
    scan = sheet(440, 560, 8)
    scan[30:410, 40:520] = sheet(380, 480, 94)
    box = lay(scan, picture(300, 400), 70, 80)
    assert find_pictures(scan) == [box]


def test_an_uneven_lamp() -> None:
    scan = sheet(400, 520, 60) + np.linspace(-8, 8, 520, dtype=np.float32)
    box = lay(scan, picture(300, 420), 40, 50)
    assert find_pictures(scan) == [box]


def test_several_pictures_the_largest_first() -> None:
    scan = sheet(700, 900, 20)
    large = lay(scan, picture(300, 480), 40, 40)
    others = [lay(scan, picture(300, 300, 2), 40, 560), lay(scan, picture(280, 360, 3), 380, 60)]
    found = find_pictures(scan)
    assert found is not None
    assert found[0] == large
    assert set(found) == {large, *others}


def test_more_pictures_than_eight_are_one_box() -> None:
    scan = sheet(660, 660, 3)
    for i in range(9):
        lay(scan, picture(190, 190, i), 20 + i // 3 * 210, 20 + i % 3 * 210)
    assert find_pictures(scan) == [Box(20, 20, 630, 630)]


def test_print_below_a_picture_is_no_picture() -> None:
    scan = sheet(420, 500, 93)
    box = lay(scan, picture(300, 420), 40, 40)
    for left in range(120, 380, 12):
        scan[370:386, left : left + 7] = 20
    assert find_pictures(scan) == [box]


def test_sprocket_holes_are_no_pictures() -> None:
    scan = sheet(460, 520, 3)
    box = lay(scan, picture(300, 480), 80, 20)
    for left in range(15, 500, 50):
        for top in (25, 400):
            scan[top : top + 35, left : left + 25] = 98
    assert find_pictures(scan) == [box]


def test_a_colour_target_is_no_picture() -> None:
    scan = sheet(420, 640, 40)
    box = lay(scan, picture(380, 460), 20, 20)
    rng = np.random.default_rng(5)
    for top in range(40, 360, 40):
        for left in range(510, 610, 40):
            scan[top : top + 30, left : left + 30] = rng.uniform(0, 100)
    assert find_pictures(scan) == [box]


@pytest.mark.parametrize("reverse", [False, True])
def test_a_grey_wedge_is_no_picture(reverse: bool) -> None:
    steps = np.linspace(96, 4, 12, dtype=np.float32).repeat(40)[:, None].repeat(30, axis=1)
    shown = picture(480, 600)
    scan = np.concatenate((steps[::-1] if reverse else steps, shown), axis=1)
    assert find_pictures(scan) == [Box(0, 30, 480, 630)]


@pytest.mark.parametrize("degrees", [-3, -1, 2])
def test_the_box_is_around_all_of_a_turned_picture(degrees: float) -> None:
    y, x = np.mgrid[:500, :640]
    angle = np.radians(degrees)
    down = (y - 250) * np.cos(angle) - (x - 320) * np.sin(angle) + 150
    right = (y - 250) * np.sin(angle) + (x - 320) * np.cos(angle) + 210
    shown = (down >= 0) & (down < 299) & (right >= 0) & (right < 419)
    scan = np.where(shown, picture(300, 420)[down.astype(int) % 300, right.astype(int) % 420], sheet(500, 640, 95))
    rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
    found = find_pictures(scan)
    assert found is not None
    (box,) = found
    truth = (rows[0], columns[0], rows[-1] + 1, columns[-1] + 1)
    assert np.abs(np.subtract((box.top, box.left, box.bottom, box.right), truth)).max() <= 4


def test_a_side_that_cannot_be_seen_is_the_scans_own() -> None:
    """The sky is as white as the paper: it is not known where it ends."""
    scan = sheet(380, 500, 96)
    shown = picture(300, 420)
    skyline = 60 + 40 * np.sin(np.linspace(0, 20, 420))
    shown[np.arange(300)[:, None] < skyline] = 96
    lay(scan, shown, 40, 40)
    assert find_pictures(scan) == [Box(0, 40, 340, 460)]


PICTURES: dict[str, Callable[[], Lightness]] = {
    "picture": lambda: picture(300, 420),
    "one lightness": lambda: np.full((300, 420), 50, np.float32),
    "black": lambda: np.zeros((300, 420), np.float32),
    "white": lambda: np.full((300, 420), 100, np.float32),
    "noise": lambda: np.random.default_rng(0).uniform(0, 100, (300, 420)).astype(np.float32),
    "down": lambda: np.linspace(0, 100, 300, dtype=np.float32)[:, None].repeat(420, axis=1),
    "across": lambda: np.linspace(100, 0, 420, dtype=np.float32)[None].repeat(300, axis=0),
    "stripes": lambda: ((np.arange(420) + np.arange(300)[:, None]) // 20 % 2 * 60 + 20).astype(np.float32),
    "sky and sea": lambda: np.concatenate((sheet(140, 420, 85), picture(160, 420))),
    "night": lambda: np.where(np.arange(300)[:, None] > 90 + 60 * np.sin(np.arange(420) / 25), picture(300, 420), 1),
    "on white": lambda: np.where(disc(110), picture(300, 420), 99),
    "on black": lambda: np.where(disc(110), picture(300, 420), 1),
    "vignette": lambda: picture(300, 420) * np.clip(2 - distance() / 130, 0, 1).astype(np.float32),
    "fading to white": lambda: 100 - (100 - picture(300, 420)) * np.clip(2 - distance() / 130, 0, 1),
}


def distance() -> NDArray[np.float64]:
    y, x = np.mgrid[:300, :420]
    return np.asarray(np.hypot(y - 150, x - 210), np.float64)


def disc(radius: float) -> NDArray[np.bool_]:
    return distance() < radius


@pytest.mark.parametrize("name", PICTURES)
def test_nothing_is_found_where_nothing_is(name: str) -> None:
    assert find_pictures(PICTURES[name]().astype(np.float32)) is None


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 5000), (5000, 1), (2, 2), (15, 15), (16, 16), (17, 3000), (3000, 17), (1, 200_000)]
)
def test_any_size(shape: tuple[int, int]) -> None:
    assert find_pictures(np.full(shape, 40, np.float32)) is None
    noise = np.random.default_rng(0).uniform(0, 100, shape).astype(np.float32)
    assert find_pictures(noise) is None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e38])
def test_what_is_no_lightness_does_no_harm(value: float) -> None:
    assert find_pictures(np.full((200, 300), value, np.float32)) is None
    scan = sheet(380, 500, 95)
    box = lay(scan, picture(300, 420), 40, 40)
    scan[100:140, 100:140] = value
    scan[150, 150:153] = np.nan, np.inf, -np.inf
    assert find_pictures(scan) == [box]


def test_not_a_number_is_black() -> None:
    scan = sheet(380, 500, 0, 0)
    box = lay(scan, picture(300, 420), 40, 40)
    black = scan.copy()
    black[:40] = np.nan
    assert find_pictures(black) == find_pictures(scan) == [box]


def test_a_large_scan_is_refined_to_the_pixel() -> None:
    scan = sheet(3000, 4000, 95)
    box = lay(scan, picture(2683, 3511), 101, 263)
    assert find_pictures(scan) == [box]


def test_views_are_as_good_as_arrays_and_stay_as_they_are() -> None:
    scan = sheet(760, 1000, 95)
    lay(scan, picture(600, 840), 80, 80)
    scan.flags.writeable = False
    assert find_pictures(scan[::2, ::2]) == [Box(40, 40, 340, 460)]
    assert find_pictures(scan.T[::-1]) == find_pictures(scan.T[::-1].copy())


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_boxes_lie_inside_and_apart(data: st.DataObject) -> None:
    """Whatever lies on the page, and wherever."""
    size = st.integers(1, 260)
    height, width = data.draw(size), data.draw(size)
    scan = sheet(height, width, data.draw(st.sampled_from([0, 30, 70, 100])), data.draw(st.sampled_from([0, 1, 6])))
    for _ in range(data.draw(st.integers(0, 9))):
        top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
        shown = picture(data.draw(st.integers(1, height - top)), data.draw(st.integers(1, width - left)))
        lay(
            scan, shown if data.draw(st.booleans()) else shown * 0 + data.draw(st.sampled_from([0, 50, 100])), top, left
        )
    found = find_pictures(scan)
    if found is None:
        return
    assert 1 <= len(found) <= 8
    assert found != [Box(0, 0, height, width)]
    assert [box.area for box in found] == sorted((box.area for box in found), reverse=True)
    for box in found:
        assert 0 <= box.top < box.bottom <= height
        assert 0 <= box.left < box.right <= width
    assert not any(one.meets(other) for one, other in combinations(found, 2))
