from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from training.__main__ import main
from training.errors import NoPhotosError, PhotoSetError
from training.photos.crops import CenterCrops
from training.photos.pack import pack
from training.photos.sets import open_photos


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A large, a small and a broken photograph."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    noise = np.random.default_rng(0).integers(256, size=(300, 400, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "large.png")
    Image.fromarray(noise[:120, :90]).save(folder / "more" / "small é.png")
    (folder / "broken.jpg").write_bytes(b"not a photograph")
    return folder


def test_a_packed_set_holds_the_photographs_reduced(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "packed"
    assert main(["pack", str(folder), "--out", str(out)]) == 0
    assert "packed 2 photographs; 1 could not be read" in capsys.readouterr().out
    packed, photos = open_photos(out), open_photos(folder)
    assert [packed.name(index) for index in range(len(packed))] == ["large.png", "more/small é.png"]
    assert packed.read(0).size == (341, 256)
    assert packed.read(1) == photos.read(2)
    # Figures do not depend on whether a set is packed.
    for place in range(2):
        assert torch.equal(CenterCrops(packed, [0, 1])[place], CenterCrops(photos, [1, 2])[place])
    assert packed.fingerprint() == open_photos(out).fingerprint() != photos.fingerprint()


def test_an_interrupted_pack_is_incomplete_and_begun_anew(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, out = open_photos(folder), tmp_path / "packed"

    def interrupt(_index: int) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(photos, "name", interrupt)
        with pytest.raises(KeyboardInterrupt):
            pack(photos, out)
    with pytest.raises(PhotoSetError, match=r"packed set without its index\.npz"):
        open_photos(out)
    assert pack(photos, out) == 1
    assert len(open_photos(out)) == 2


def test_a_packed_set_is_never_overwritten(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pack(open_photos(folder), tmp_path / "packed")
    assert main(["pack", str(folder), "--out", str(tmp_path / "packed")]) == 1
    assert "holds a packed set already" in capsys.readouterr().err


def test_a_damaged_pack_is_an_error_that_names_the_file(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "packed"
    pack(open_photos(folder), out)
    pixels = (out / "pixels.u8").read_bytes()
    (out / "pixels.u8").write_bytes(pixels[:-1])
    with pytest.raises(PhotoSetError, match=r"pixels\.u8 is not as long"):
        open_photos(out)
    (out / "index.npz").write_bytes(b"nothing of the kind")
    with pytest.raises(PhotoSetError, match=r"index\.npz is not the index"):
        open_photos(out)
    (out / "pixels.u8").unlink()
    (out / "index.npz").unlink()
    with pytest.raises(NoPhotosError):
        open_photos(out)


def test_there_is_nothing_to_pack_in_broken_photographs(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"not a photograph")
    with pytest.raises(NoPhotosError, match=r"none of the 1 photographs can be read, broken\.jpg among them"):
        pack(open_photos(tmp_path), tmp_path / "packed")
