from pathlib import Path

import pytest
from PIL import Image

from training.__main__ import main
from training.errors import NoPhotosError, PhotoSetError
from training.photos.faces import FaceDetector, read_faces, write_faces
from training.photos.sets import open_photos

OLD_MAN = Path(__file__).parents[4] / "docs" / "pictures" / "old-man.jpg"

HEADER = "file,left,top,right,bottom\n"


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FaceDetector()


@pytest.fixture
def folder(tmp_path: Path, photos: Path) -> Path:
    """One photograph with a face, one without, and a broken one."""
    folder = tmp_path / "set"
    (folder / "people").mkdir(parents=True)
    (folder / "people" / "old man, reading.jpg").write_bytes(OLD_MAN.read_bytes())
    (folder / "field.png").write_bytes((photos / "1.png").read_bytes())
    (folder / "broken.jpg").write_bytes(b"not a photograph")
    return folder


@pytest.mark.parametrize("width", [90, 270, 1080])
def test_a_face_is_found_at_every_size(detector: FaceDetector, width: int) -> None:
    with Image.open(OLD_MAN) as photo:
        resized = photo.convert("RGB").resize((width, width * photo.height // photo.width))
    [face] = detector.find(resized)
    assert face == pytest.approx((0.36, 0.22, 0.69, 0.54), abs=0.05)


def test_no_face_is_found_where_none_is(detector: FaceDetector, photos: Path) -> None:
    pictures = open_photos(photos)
    assert [detector.find(pictures.read(index)) for index in range(len(pictures))] == [[]] * len(pictures)
    assert detector.find(Image.new("RGB", (1, 1))) == []


def test_what_is_found_is_written_beside_the_photographs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["faces", str(folder)]) == 0
    assert "found 1 faces in 1 photographs; 1 could not be read" in capsys.readouterr().out
    faces = read_faces(open_photos(folder))
    assert list(faces) == ["people/old man, reading.jpg"]
    [[face]] = faces.values()
    assert face == pytest.approx((0.36, 0.22, 0.69, 0.54), abs=0.05)


def test_broken_photographs_are_named(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert write_faces(open_photos(folder)) == 1
    assert "broken.jpg cannot be read" in caplog.text


def test_an_interrupted_search_leaves_the_file_of_before(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = open_photos(folder)
    (folder / "faces.csv").write_text(HEADER + "field.png,0.1,0.2,0.3,0.4\n")

    def interrupt(_index: int) -> Image.Image:
        raise KeyboardInterrupt

    monkeypatch.setattr(photos, "read", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_faces(photos)
    assert read_faces(photos) == {"field.png": [(0.1, 0.2, 0.3, 0.4)]}


def test_there_is_nothing_to_find_in_broken_photographs(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"not a photograph")
    with pytest.raises(NoPhotosError, match=r"none of the 1 photographs can be read, broken\.jpg among them"):
        write_faces(open_photos(tmp_path))
    assert [file.name for file in tmp_path.iterdir()] == ["broken.jpg"]


def test_several_faces_of_a_photograph_stay_together(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes((photos / "1.png").read_bytes())
    (tmp_path / "faces.csv").write_text(HEADER + "1.png,0,0,0.5,0.5\n1.png,0.5,0.5,1,1\n")
    assert read_faces(open_photos(tmp_path)) == {"1.png": [(0, 0, 0.5, 0.5), (0.5, 0.5, 1, 1)]}


def test_without_the_file_the_command_that_makes_it_is_named(photos: Path) -> None:
    with pytest.raises(PhotoSetError, match=r"faces\.csv does not exist: `python -m training faces"):
        read_faces(open_photos(photos))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"file,left\n1.png,0.1\n",
        HEADER.encode() + b"1.png,0.1,0.2,0.3\n",
        HEADER.encode() + b"1.png,0.1,0.2,0.3,wide\n",
        HEADER.encode() + b"1.png,0.1,0.2,0.3,nan\n",
        HEADER.encode() + b"1.png,0.5,0.2,0.3,0.4\n",
        HEADER.encode() + b"1.png,10,20,30,40\n",
        HEADER.encode() + b'"1.png,0.1,0.2,0.3,0.4\n',
        b"\xff\xfe",
    ],
)
def test_a_file_that_is_no_list_of_faces_is_an_error(photos: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "1.png").write_bytes((photos / "1.png").read_bytes())
    (tmp_path / "faces.csv").write_bytes(content)
    with pytest.raises(PhotoSetError, match=r"faces\.csv is not a list of faces"):
        read_faces(open_photos(tmp_path))
