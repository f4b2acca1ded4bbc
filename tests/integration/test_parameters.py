"""What can be asked for, through the whole application."""

import io
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from tests.pictures import from_bytes, to_bytes


@pytest.fixture(scope="module")
def client(make_settings: Callable[..., Settings]) -> Iterator[TestClient]:
    """One for all: nothing here changes the service."""
    with TestClient(create_app(make_settings())) as client:
        yield client


@pytest.fixture(scope="module")
def png(gray_photo: Image.Image) -> bytes:
    return to_bytes(gray_photo, "PNG")


@pytest.fixture(scope="module")
def deep_tiff() -> bytes:
    """Two pages of 16 bits."""
    y, x = np.mgrid[0:90, 0:140]
    levels = (20_000 + 15_000 * np.sin(x / 17) + 90 * y).astype(np.uint16)
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(levels, photometric="minisblack", description="Grandmother, 1931")
        writer.write(levels[:, ::-1] // 2, photometric="minisblack")
    return file.getvalue()


def answer(client: TestClient, query: str, content: bytes, **headers: str) -> httpx2.Response:
    response = client.post(f"/colorize?{query}", content=content, headers=headers)
    assert response.status_code == 200, response.text
    return response


def pixels(response: httpx2.Response) -> NDArray[Any]:
    if response.headers["content-type"] == "image/tiff":
        levels: NDArray[Any] = tifffile.imread(io.BytesIO(response.content))
        return levels
    return np.asarray(from_bytes(response.content))


def refusal(client: TestClient, query: str, content: bytes) -> tuple[str, str]:
    """The kind of a problem with what was asked for, and what is said of it."""
    response = client.post(f"/colorize?{query}", content=content)
    assert response.status_code == 422
    problem = response.json()
    return problem["type"].removeprefix("urn:autochrome:problem:"), problem["detail"]


@pytest.mark.parametrize(
    ("source", "asked", "answered"),
    [
        ("JPEG", None, "JPEG"),
        ("PNG", None, "PNG"),
        ("WEBP", None, "WEBP"),
        ("TIFF", None, "TIFF"),
        ("AVIF", None, "AVIF"),
        ("JPEG2000", None, "TIFF"),
        ("BMP", None, "PNG"),
        ("GIF", None, "PNG"),
        ("JPEG", "png", "PNG"),
        ("PNG", "webp", "WEBP"),
        ("WEBP", "jpeg", "JPEG"),
        ("JPEG", "tiff", "TIFF"),
        ("PNG", "avif", "AVIF"),
    ],
)
def test_formats(client: TestClient, gray_photo: Image.Image, source: str, asked: str | None, answered: str) -> None:
    params = {"format": asked} if asked else {}
    response = client.post("/colorize", params=params, content=to_bytes(gray_photo, source))
    assert response.headers["content-type"] == f"image/{answered.lower()}"
    image = from_bytes(response.content)
    assert (image.format, image.size) == (answered, (160, 120))


@pytest.mark.parametrize(("short", "long"), [("jpg", "jpeg"), ("tif", "tiff")])
def test_formats_have_short_names(client: TestClient, gray_photo: Image.Image, short: str, long: str) -> None:
    data = to_bytes(gray_photo, "PNG")
    response = client.post(f"/colorize?format={short}", content=data)
    assert response.headers["content-type"] == f"image/{long}"
    assert response.content == client.post(f"/colorize?format={long}", content=data).content


@pytest.mark.parametrize(
    "query",
    [
        "backbone=vgg16",
        "format=bmp",
        "depth=12",
        "quality=0",
        "quality=101",
        "compression=jpeg",
        "saturation=-1",
        "saturation=nan",
        "satuartion=0",
        "strength=1.1",
        "warmth=-2",
        "max_side=15",
        "page=0",
        "border=cut",
        "output=mask",
        "metadata=some",
    ],
)
def test_bad_parameters_are_refused_by_name(client: TestClient, png: bytes, query: str) -> None:
    kind, detail = refusal(client, query, png)
    assert kind == "bad-parameter"
    assert query.split("=")[0] in detail


def test_a_tiff_of_16_bits_comes_back_as_one(client: TestClient, deep_tiff: bytes) -> None:
    response = answer(client, "strength=0", deep_tiff)
    assert response.headers["content-type"] == "image/tiff"
    levels, given = pixels(response), tifffile.imread(io.BytesIO(deep_tiff), key=0)
    assert levels.dtype == np.uint16
    assert np.abs(levels.astype(int) - given[..., None]).max() <= 1
    assert np.ptp(pixels(answer(client, "", deep_tiff)).astype(int), axis=2).mean() > 256


def test_the_depth_can_be_chosen(client: TestClient, deep_tiff: bytes, png: bytes) -> None:
    assert pixels(answer(client, "depth=8", deep_tiff)).dtype == np.uint8
    assert pixels(answer(client, "format=tif&depth=16", png)).dtype == np.uint16
    # What was sent was a JPEG, which has 8: the first that has 16.
    jpeg = to_bytes(from_bytes(png), "JPEG")
    assert answer(client, "depth=16", jpeg).content[24] == 16  # of a PNG's IHDR


def test_a_page_can_be_chosen_and_is_told_of(client: TestClient, deep_tiff: bytes) -> None:
    first, second = (answer(client, f"strength=0&page={page}", deep_tiff) for page in (1, 2))
    assert first.headers["x-autochrome-notes"] == "page 1 of 2"
    assert second.headers["x-autochrome-notes"] == "page 2 of 2"
    assert answer(client, "strength=0", deep_tiff).content == first.content
    assert np.abs(pixels(second).astype(int) - pixels(first)[:, ::-1] // 2).max() <= 1
    kind, detail = refusal(client, "page=3", deep_tiff)
    assert kind == "no-such-page"
    assert "3" in detail


def test_a_picture_alone_has_no_notes_and_no_second_page(client: TestClient, png: bytes) -> None:
    assert "x-autochrome-notes" not in answer(client, "page=1", png).headers
    assert refusal(client, "page=2", png) == ("no-such-page", "The PNG image has one picture, and no page 2")


def test_metadata_are_kept_or_stripped(client: TestClient, deep_tiff: bytes) -> None:
    descriptions = []
    for choice in ("keep", "strip"):
        with tifffile.TiffFile(io.BytesIO(answer(client, f"metadata={choice}", deep_tiff).content)) as file:
            page = file.pages[0]
            descriptions.append(page.tags["ImageDescription"].value if "ImageDescription" in page.tags else None)  # type: ignore[union-attr]
            assert page.tags["Software"].value.startswith("Autochrome ")  # type: ignore[union-attr]
    assert descriptions == ["Grandmother, 1931", None]


@pytest.mark.parametrize(
    ("accept", "query", "media_type"),
    [
        ("*/*", "", "image/png"),
        ("text/html, image/*", "", "image/png"),
        ("image/webp", "", "image/webp"),
        ("image/webp;q=0.5, image/jpeg", "", "image/jpeg"),
        ("image/webp", "format=tiff", "image/tiff"),
        ("image/webp, image/tiff;q=0.1", "depth=16", "image/tiff"),
        ("image/webp", "depth=16", "image/png"),
        ("application/json", "", "image/png"),
    ],
)
def test_without_a_format_it_is_the_most_welcome_one(
    client: TestClient, png: bytes, accept: str, query: str, media_type: str
) -> None:
    assert answer(client, query, png, Accept=accept).headers["content-type"] == media_type


def test_the_longer_side_can_be_bounded(client: TestClient, png: bytes) -> None:
    assert from_bytes(answer(client, "max_side=80", png).content).size == (80, 60)
    assert from_bytes(answer(client, "max_side=5000", png).content).size == (160, 120)


def test_paper_around_a_picture_stays_grey_unless_it_is_to_be_coloured(client: TestClient) -> None:
    y, x = np.mgrid[0:300, 0:400]
    picture = 90 + 50 * np.sin(x / 23) * np.cos(y / 31) + 25 * np.sin(x * y / 900)
    scan = np.full((420, 520), 250, np.uint8) + np.random.default_rng(0).integers(0, 2, (420, 520), np.uint8)
    scan[50:350, 70:470] = picture.astype(np.uint8)
    data = to_bytes(Image.fromarray(scan), "PNG")
    default, auto, keep = (
        pixels(answer(client, query, data)).astype(int) for query in ("", "border=auto", "border=keep")
    )
    paper = np.ones(scan.shape, bool)
    paper[47:353, 67:473] = False
    assert np.array_equal(default, auto)
    assert np.ptp(auto[paper], axis=1).max() == 0
    assert np.ptp(keep[paper], axis=1).mean() > 0.5
    for colored in (auto, keep):
        assert np.ptp(colored[60:340, 80:460], axis=2).mean() > 1


def test_the_colours_alone_are_those_of_the_picture(client: TestClient, png: bytes) -> None:
    ab = pixels(answer(client, "output=ab&depth=8", png)).astype(int) - 128
    assert (ab[..., 2] == 0).all()
    assert np.abs(ab[..., :2]).max() > 2
    paler = pixels(answer(client, "output=ab&depth=8&saturation=0.5", png)).astype(int) - 128
    assert np.abs(ab - 2 * paler).max() <= 2
    fine = answer(client, "output=ab&format=tiff", png)
    assert np.abs((pixels(fine) - 32_768.0) / 256 - ab).max() <= 0.51
    assert pixels(fine).dtype == np.uint16


def test_confidence_is_one_grey_where_the_network_does_not_tell(client: TestClient, png: bytes) -> None:
    levels = pixels(answer(client, "output=confidence&format=tiff", png))
    assert levels.shape == (120, 160)
    assert levels.dtype == np.uint16
    assert np.abs(levels / 65_535 - 0.5).max() < 0.001


def test_compression_is_of_tiff(client: TestClient, deep_tiff: bytes) -> None:
    found = {}
    for query in ("", "compression=none", "compression=lzw", "compression=deflate"):
        with tifffile.TiffFile(io.BytesIO(answer(client, query, deep_tiff).content)) as file:
            found[query.removeprefix("compression=")] = int(file.pages[0].compression)
    assert found == {"": 8, "none": 1, "lzw": 5, "deflate": 8}


def test_warmth_turns_a_picture_from_blue_to_yellow(client: TestClient, png: bytes) -> None:
    cold, _, warm = (
        pixels(answer(client, f"warmth={value}", png)).astype(int)[..., 0::2].mean(axis=(0, 1)) for value in (-1, 0, 1)
    )
    assert warm[0] - warm[1] > 20 + cold[0] - cold[1]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("format=jpeg&depth=16", "format=jpeg has 8 bits a sample; depth=16 needs png or tiff"),
        ("output=ab&format=webp", "output=ab is written as png or tiff, not as webp"),
        ("output=confidence&format=jpg", "output=confidence is written as png or tiff, not as jpeg"),
        ("format=gif", "query.format: Input should be 'png', 'jpeg', 'webp', 'tiff' or 'avif'"),
        ("depth=10", "query.depth: Input should be 8 or 16"),
        ("border=crop", "query.border: Input should be 'auto' or 'keep'"),
        ("max_side=4", "query.max_side: Input should be greater than or equal to 16"),
        ("warmth=1.5", "query.warmth: Input should be less than or equal to 1"),
        ("colour=1", "query.colour: Extra inputs are not permitted"),
    ],
)
def test_what_no_answer_could_be_is_refused_in_words(client: TestClient, png: bytes, query: str, said: str) -> None:
    kind, detail = refusal(client, query, png)
    assert kind == "bad-parameter"
    assert said in detail
