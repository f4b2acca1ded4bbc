import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from training.errors import NoPhotosError, OtherRunError
from training.photos.selection import Selection, difference_hash, held_back, mean_chroma, select
from training.photos.sets import PhotoFolder, open_photos


def picture(seed: int) -> Image.Image:
    """Coloured clouds, others for every seed."""
    clouds = np.random.default_rng(seed).integers(256, size=(7, 8, 3), dtype=np.uint8)
    return Image.fromarray(clouds).resize((160, 140), Image.Resampling.BICUBIC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Forty pictures, a grey one, a broken one."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(40):
        picture(seed).save(folder / f"{seed:02}.png")
    picture(40).convert("L").save(folder / "grey.png")
    (folder / "broken.png").write_bytes(b"not a photograph")
    return folder


def sides(folder: Path, selection: Selection) -> tuple[set[str], set[str]]:
    photos = open_photos(folder)
    return {photos.name(index) for index in selection.train}, {photos.name(index) for index in selection.validation}


def test_what_serves_is_split_and_the_rest_counted(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    selection = select(open_photos(folder), tmp_path / "cache.npz", 0.25)
    assert (selection.unreadable, selection.near_grey) == (1, 1)
    assert sorted(selection.train + selection.validation) == list(range(40))
    assert 3 <= len(selection.validation) <= 20
    counts = f"{len(selection.train)} photographs to train on, {len(selection.validation)} to validate on"
    assert f"{counts}; left out: 1 unreadable, 1 near-grey" in caplog.text
    assert "broken.png cannot be read" in caplog.text
    assert select(open_photos(folder), tmp_path / "cache.npz", 0).validation == []


def test_the_side_does_not_depend_on_names_order_and_company(folder: Path, tmp_path: Path) -> None:
    train, validation = sides(folder, select(open_photos(folder), tmp_path / "cache.npz", 0.25))
    other = tmp_path / "other"
    other.mkdir()
    for seed in range(0, 40, 2):
        picture(seed).save(other / f"{99 - seed}.png")
    other_train, other_validation = sides(other, select(open_photos(other), tmp_path / "other.npz", 0.25))
    assert {f"{99 - seed}.png" for seed in range(0, 40, 2) if f"{seed:02}.png" in train} == other_train
    assert {f"{99 - seed}.png" for seed in range(0, 40, 2) if f"{seed:02}.png" in validation} == other_validation
    assert other_validation


def test_near_duplicates_fall_on_one_side(tmp_path: Path) -> None:
    for seed in range(30):
        picture(seed).save(tmp_path / f"{seed}.png")
        picture(seed).resize((100, 88)).save(tmp_path / f"{seed} reduced.jpg", quality=60)
        ImageEnhance.Brightness(picture(seed)).enhance(0.9).save(tmp_path / f"{seed} darker.webp")
    train, validation = sides(tmp_path, select(open_photos(tmp_path), tmp_path / "cache.npz", 0.4))
    assert min(len(train), len(validation)) >= 15
    for side in (train, validation):
        seeds = [name.split(".")[0].split(" ")[0] for name in side]
        assert all(seeds.count(seed) == 3 for seed in seeds)


def test_photographs_are_read_once_for_as_long_as_they_stay_the_same(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    read = PhotoFolder.read

    def counted(photos: PhotoFolder, index: int) -> Image.Image:
        reads.append(index)
        return read(photos, index)

    monkeypatch.setattr(PhotoFolder, "read", counted)
    cache = tmp_path / "run" / "cache.npz"
    first = select(open_photos(folder), cache)
    assert select(open_photos(folder), cache) == first
    assert len(reads) == 42
    picture(50).save(folder / "one more.png")
    assert len(select(open_photos(folder), cache).train) > 0
    assert len(reads) == 42 + 43
    cache.write_bytes(cache.read_bytes()[:100])
    select(open_photos(folder), cache)
    assert len(reads) == 42 + 43 + 43


def test_what_a_run_held_back_can_be_asked_for(folder: Path, tmp_path: Path) -> None:
    photos, cache = open_photos(folder), tmp_path / "cache.npz"
    with pytest.raises(OtherRunError, match="does not say"):
        held_back(photos, cache)
    assert not cache.exists()
    selection = select(photos, cache)
    assert selection.validation
    assert held_back(photos, cache) == selection.validation
    (folder / "00.png").unlink()
    with pytest.raises(OtherRunError, match="other photographs"):
        held_back(open_photos(folder), cache)


def test_nothing_to_train_on_is_an_error(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(NoPhotosError, match="none of the 42 photographs is left"):
        select(open_photos(folder), tmp_path / "cache.npz", 1)


def test_a_difference_hash_tells_where_brightness_rises() -> None:
    ramp = Image.fromarray(np.tile(np.arange(0, 252, 7, dtype=np.uint8), (32, 1)))
    assert difference_hash(ramp) == 2**64 - 1
    assert difference_hash(ramp.transpose(Image.Transpose.FLIP_LEFT_RIGHT)) == 0
    assert difference_hash(Image.new("L", (36, 32), 90)) == 0
    half = Image.new("L", (36, 32))
    half.paste(255, (18, 0, 36, 32))
    assert all(0 < row < 255 for row in difference_hash(half).to_bytes(8, "big"))


def test_mean_chroma_is_cielab_s() -> None:
    half_red = Image.new("RGB", (64, 64), (128, 128, 128))
    half_red.paste((255, 0, 0), (0, 0, 32, 64))
    assert mean_chroma(half_red) == pytest.approx(104.55 / 2, abs=0.05)
