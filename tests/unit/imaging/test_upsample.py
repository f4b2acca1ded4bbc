"""Reduction averages; enlargement keeps to edges, averages to what was enlarged, and is alike in both directions."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from service.imaging import kernels
from service.imaging.upsample import Chroma, reduce

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


def enlarge(ab: Tensor, lightness: Tensor) -> Tensor:
    """Chroma at the size of L* (H, W)."""
    chroma = Chroma.of(ab, lightness)
    gray = np.ascontiguousarray(lightness.numpy())
    return torch.from_numpy(kernels.enlarge(gray, chroma.colors, chroma.guide, chroma.rows, chroma.columns))


def two_sides(height: int, width: int, edge: float) -> tuple[Tensor, Tensor]:
    """L* (H, W) and its ab (2, H, W): a dark red side and a light green one, with a slanting edge between."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    left = x + 0.2 * y < edge * width
    ab = torch.where(left, torch.tensor([50.0, 20.0])[:, None, None], torch.tensor([-30.0, 40.0])[:, None, None])
    return torch.where(left, 30.0, 75.0), ab


def reduced(ab: Tensor, height: int, width: int) -> Tensor:
    return F.interpolate(ab[None], (height, width), mode="area")[0]


@pytest.mark.parametrize(
    ("height", "width"), [(300, 400), (2000, 1500), (20, 30), (1, 5000), (5000, 1), (1, 1), (57, 55)]
)
def test_constant_chroma_stays_constant(height: int, width: int) -> None:
    ab = torch.tensor([12.5, -40.0])[:, None, None].expand(2, 56, 56)
    lightness = torch.rand(height, width, generator=torch.Generator().manual_seed(0)) * 100
    enlarged = enlarge(ab, lightness)
    assert enlarged.shape == (2, height, width)
    assert enlarged.dtype == torch.float32
    torch.testing.assert_close(enlarged, ab[:, :1, :1].expand_as(enlarged), rtol=0, atol=1e-3)


def test_enlarging_to_the_same_size_changes_nothing() -> None:
    lightness = torch.rand(56, 56, generator=torch.Generator().manual_seed(0)) * 100
    torch.testing.assert_close(enlarge(CHROMA, lightness), CHROMA, rtol=0, atol=1e-3)


def test_photo_smaller_than_the_map_averages_its_chroma() -> None:
    checkerboard = ((torch.arange(64)[:, None] + torch.arange(64)).remainder(2) * 2 - 1) * 60.0
    assert enlarge(checkerboard.expand(2, 64, 64), torch.full((8, 8), 50.0)).abs().max() < 1


def test_enlarging_is_smooth_and_aligned_where_there_is_no_edge() -> None:
    ramp = torch.linspace(-50, 50, 56).expand(2, 56, 56)
    enlarged = enlarge(ramp, torch.full((168, 280), 50.0))
    expected = F.interpolate(ramp[None], (168, 280), mode="bilinear")[0]
    inside = slice(10, -10)  # beyond the last of the map there is nothing to slope to
    assert (enlarged - expected)[..., inside, inside].abs().max() < 0.6
    assert (enlarged[..., inside].diff(dim=2) > 0).all()
    assert enlarged.diff(dim=1).abs().max() < 1e-3


def test_both_directions_are_alike() -> None:
    lightness, ab = two_sides(500, 420, 0.5)
    small = reduced(ab, 64, 64)
    turned = enlarge(small.transpose(1, 2).contiguous(), lightness.T.contiguous())
    torch.testing.assert_close(turned.transpose(1, 2), enlarge(small, lightness), rtol=0, atol=1e-3)


@pytest.mark.parametrize(("height", "width", "share"), [(500, 700, 0.4), (1600, 1300, 0.265)])
def test_what_is_enlarged_averages_to_the_map(height: int, width: int, share: float) -> None:
    """Else pictures would be paler than the network says: a plain mean of neighbours loses much of such a map.

    One correction, or two that go only as far as is lacking, leave more than 0.28 of the larger one's loss.
    """
    generator = torch.Generator().manual_seed(0)
    small = F.interpolate(torch.randn(1, 2, 56, 56, generator=generator) * 30, (112, 112), mode="bicubic")[0]
    lightness = 50 + 5 * torch.randn(height, width, generator=generator)
    chroma = Chroma.of(small, lightness)
    plain = kernels.enlarge(lightness.numpy(), small.numpy(), chroma.guide, chroma.rows, chroma.columns)

    def lacking(enlarged: Tensor) -> float:
        return float((reduced(enlarged, 112, 112) - small).norm(dim=0).mean())

    assert lacking(torch.from_numpy(plain)) > 5
    assert lacking(enlarge(small, lightness)) < share * lacking(torch.from_numpy(plain))


@pytest.mark.parametrize(("height", "width", "share"), [(500, 700, 0.5), (1600, 1300, 0.45)])
def test_colours_end_at_edges(height: int, width: int, share: float) -> None:
    lightness, ab = two_sides(height, width, 0.55)
    small = reduced(ab, 112, 112)
    bicubic = F.interpolate(small[None], (height, width), mode="bicubic")[0]
    error, smooth = (enlarge(small, lightness) - ab).norm(dim=0), (bicubic - ab).norm(dim=0)
    assert error.mean() < share * smooth.mean()
    assert error.max() < smooth.max()


def test_a_thin_line_does_not_take_a_colour_that_nothing_around_it_has() -> None:
    """A mast before a pale sky, beside a roof nearly as dark: of all that is around, that is the least unlike."""
    lightness, red = torch.full((800, 800), 80.0), torch.zeros(800, 800, dtype=torch.bool)
    red[:, 406:] = True
    lightness[red] = 40.0
    lightness[:, 400:402] = 5.0
    ab = torch.where(red, torch.tensor([50.0, 40.0])[:, None, None], torch.tensor([-5.0, -25.0])[:, None, None])
    mast = enlarge(reduced(ab, 112, 112), lightness)[:, :, 400:402]
    assert (mast - ab[:, :, :1]).norm(dim=0).mean() < 20  # the roof's would be 85


@pytest.mark.parametrize("size", [(20, 30), (56, 56), (100, 90), (400, 300)])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 5e5])
def test_what_is_no_colour_stays_where_it_is(size: tuple[int, int], value: float) -> None:
    lightness = torch.rand(*size, generator=torch.Generator().manual_seed(0)) * 100
    hurt = CHROMA.clone()
    hurt[:, 30, 30] = 0
    expected = enlarge(hurt, lightness)
    hurt[:, 30, 30] = value
    assert torch.equal(enlarge(hurt, lightness), expected)


@pytest.mark.parametrize("size", [240, 300, 440])
def test_what_is_little_larger_than_the_map_is_enlarged_smoothly(size: int) -> None:
    lightness = torch.rand(size, size, generator=torch.Generator().manual_seed(0)) * 100
    ab = torch.empty(2, 224, 224).uniform_(-80, 80, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(ab[None], (size, size), mode="bicubic", antialias=True)[0]
    torch.testing.assert_close(enlarge(ab, lightness), expected, rtol=0, atol=1e-3)


def test_what_is_not_in_a_row_in_memory_is_read_as_well() -> None:
    lightness, ab = two_sides(300, 500, 0.5)
    small = reduced(ab, 32, 32)
    expected = enlarge(small, lightness)
    assert torch.equal(enlarge(small.transpose(1, 2).contiguous().transpose(1, 2), lightness), expected)
    assert torch.equal(enlarge(small.permute(1, 2, 0).contiguous().permute(2, 0, 1), lightness), expected)
    assert torch.equal(enlarge(small, lightness.T.contiguous().T), expected)
