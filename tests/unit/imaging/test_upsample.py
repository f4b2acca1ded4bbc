"""Reduction averages, enlargement is smooth, and a strip of it is a piece of the whole."""

import pytest
import torch

from service.imaging.upsample import enlarge, reduce

CHROMA = torch.empty(2, 56, 56).uniform_(-80, 80, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("height", "width"), [(300, 400), (1, 5000), (5000, 1), (1, 1), (20, 30), (224, 224)])
def test_reduce_gives_the_square_at_any_size(height: int, width: int) -> None:
    square = reduce(torch.full((height, width), 42.0), 224)
    assert square.shape == (1, 224, 224)
    assert square.dtype == torch.float32
    torch.testing.assert_close(square, torch.full_like(square, 42.0))


def test_reduce_averages_fine_texture_away() -> None:
    checkerboard = (torch.arange(512)[:, None] + torch.arange(512)).remainder(2) * 100.0
    assert (reduce(checkerboard, 32) - 50).abs().max() < 1


def test_reduce_keeps_orientation() -> None:
    square = reduce(torch.linspace(0, 100, 300)[:, None].expand(300, 200), 224)[0]
    assert (square.diff(dim=0) > 0).all()
    torch.testing.assert_close(square[:, 0], square[:, -1])


@pytest.mark.parametrize(
    ("height", "width"), [(300, 400), (299, 401), (56, 56), (40, 30), (300, 20), (5000, 1), (1, 5000), (1, 1)]
)
@pytest.mark.parametrize("rows", [1, 7, 64])
def test_strips_are_the_rows_of_the_whole(height: int, width: int, rows: int) -> None:
    rows = max(rows, height // 50)
    whole = enlarge(CHROMA, height, width, 0, height)
    strips = [enlarge(CHROMA, height, width, top, min(top + rows, height)) for top in range(0, height, rows)]
    # White noise at full chroma is the hardest case; 0.002 is a hundredth of an 8-bit level.
    torch.testing.assert_close(torch.cat(strips, dim=1), whole, rtol=0, atol=2e-3)


@pytest.mark.parametrize(("height", "width"), [(300, 400), (20, 30), (1, 5000), (5000, 1)])
def test_constant_chroma_stays_constant(height: int, width: int) -> None:
    ab = torch.tensor([12.5, -40.0])[:, None, None].expand(2, 56, 56)
    enlarged = enlarge(ab, height, width, 0, height)
    assert enlarged.shape == (2, height, width)
    assert enlarged.dtype == torch.float32
    torch.testing.assert_close(enlarged, ab[:, :1, :1].expand_as(enlarged))


def test_enlarging_to_the_same_size_changes_nothing() -> None:
    assert torch.equal(enlarge(CHROMA, 56, 56, 0, 56), CHROMA)


def test_enlarging_is_bicubic_and_aligned() -> None:
    ramp = torch.linspace(-50, 50, 56).expand(2, 56, 56)
    expected = torch.nn.functional.interpolate(ramp[None], (168, 280), mode="bicubic", antialias=True)[0]
    torch.testing.assert_close(enlarge(ramp, 168, 280, 0, 168), expected, rtol=0, atol=1e-3)


def test_photo_smaller_than_the_map_averages_its_chroma() -> None:
    checkerboard = ((torch.arange(64)[:, None] + torch.arange(64)).remainder(2) * 2 - 1) * 60.0
    assert enlarge(checkerboard.expand(2, 64, 64), 8, 8, 0, 8).abs().max() < 1
