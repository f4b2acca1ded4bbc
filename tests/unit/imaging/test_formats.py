"""Which format an answer gets, and what each can hold."""

import pytest

from service.imaging.errors import TooManyPixelsError
from service.imaging.formats import ImageFormat, choose

PNG, JPEG, WEBP, TIFF, AVIF = ImageFormat
ALL = list(ImageFormat)


def test_clients_may_use_the_short_names() -> None:
    assert (ImageFormat("jpg"), ImageFormat("tif")) == (JPEG, TIFF)
    with pytest.raises(ValueError, match="bmp"):
        ImageFormat("bmp")


def test_media_types_are_those_that_are_registered() -> None:
    assert [format.media_type for format in ALL] == [
        "image/png",
        "image/jpeg",
        "image/webp",
        "image/tiff",
        "image/avif",
    ]


def test_those_without_loss_hold_16_bits() -> None:
    assert [format for format in ALL if 16 in format.depths] == [PNG, TIFF]
    assert [format for format in ALL if format.lossless] == [PNG, TIFF]
    assert all(8 in format.depths for format in ALL)


@pytest.mark.parametrize("own", ALL)
def test_without_a_word_of_the_client_the_photographs_own_is_chosen(own: ImageFormat) -> None:
    assert choose(own, ALL, None) is own


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        ({WEBP: 1.0, PNG: 0.5}, WEBP),
        ({TIFF: 0.3, PNG: 0.2}, TIFF),
        ({JPEG: 0.8, WEBP: 0.8}, JPEG),
        ({AVIF: 0.8, WEBP: 0.8, JPEG: 0.1}, WEBP),  # the first of those that are written
        (dict.fromkeys(ImageFormat, 0.7), JPEG),
        ({PNG: 0.0}, JPEG),
        ({}, JPEG),
    ],
)
def test_the_most_welcome_is_chosen_and_among_equals_the_photographs_own(
    accepted: dict[ImageFormat, float], chosen: ImageFormat
) -> None:
    assert choose(JPEG, ALL, accepted) is chosen


def test_where_its_own_cannot_be_had_the_first_that_can_is_chosen() -> None:
    assert choose(JPEG, [PNG, TIFF], None) is PNG
    assert choose(JPEG, [PNG, TIFF], {JPEG: 1.0, TIFF: 0.1}) is TIFF
    assert choose(JPEG, [PNG, TIFF], {JPEG: 1.0}) is PNG


@pytest.mark.parametrize(
    ("format", "longest"), [(PNG, 65_535), (JPEG, 65_500), (WEBP, 16_383), (TIFF, 65_535), (AVIF, 65_535)]
)
def test_a_side_that_a_format_cannot_hold_is_refused(format: ImageFormat, longest: int) -> None:
    format.check_fits(longest, 1)
    format.check_fits(1, longest)
    for size in ((longest + 1, 1), (1, longest + 1)):
        with pytest.raises(TooManyPixelsError, match=f"{size[0]} × {size[1]} pixels, but {format} holds .* {longest}"):
            format.check_fits(*size)
