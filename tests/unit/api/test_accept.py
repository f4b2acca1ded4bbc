"""The header Accept, as programs and browsers send it."""

import pytest

from service.api.accept import accepted_formats
from service.imaging.formats import ImageFormat

PNG, JPEG, WEBP, TIFF, AVIF = ImageFormat

CHROME = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("image/tiff", {TIFF: 1.0}),
        ("image/webp, image/png;q=0.5", {WEBP: 1.0, PNG: 0.5}),
        ("IMAGE/PNG ; Q=0.25", {PNG: 0.25}),
        ("image/*;q=0.3, image/jpeg", {PNG: 0.3, JPEG: 1.0, WEBP: 0.3, TIFF: 0.3, AVIF: 0.3}),
        ("*/*", dict.fromkeys(ImageFormat, 1.0)),
        ("image/png;q=0, */*;q=0.1", {JPEG: 0.1, WEBP: 0.1, TIFF: 0.1, AVIF: 0.1}),
        (CHROME, {PNG: 0.8, JPEG: 0.8, WEBP: 1.0, TIFF: 0.8, AVIF: 1.0}),
        ("image/png;q=7, image/jpeg;q=-1", {PNG: 1.0}),
        ("image/png;q=much, image/jpeg;level=3;q=0.5", {JPEG: 0.5}),
    ],
)
def test_each_format_is_as_welcome_as_the_most_particular_range_says(
    accept: str, expected: dict[ImageFormat, float]
) -> None:
    found = accepted_formats(accept)
    assert found is not None
    assert {format: quality for format, quality in found.items() if quality} == expected


@pytest.mark.parametrize("accept", [None, "", "application/json", "text/*", ",;=q,;", "image/png;q=0", "image/bmp"])
def test_a_header_that_names_no_format_says_nothing(accept: str | None) -> None:
    assert accepted_formats(accept) is None


@pytest.mark.parametrize("quality", ["nan", "inf", "1e999", "0x1"])
def test_a_quality_that_is_no_number_does_no_harm(quality: str) -> None:
    found = accepted_formats(f"image/png;q={quality}, image/jpeg;q=0.5")
    assert found is not None
    assert found[JPEG] == 0.5
    assert 0 <= found[PNG] <= 1
