"""Reduction averages, enlargement is smooth, and alike in both directions."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from service.imaging.kernels import widen
from service.imaging.upsample import bicubic_weights, reduce

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


def enlarge(ab: Tensor, height: int, width: int) -> Tensor:
    """Both directions."""
    wide = widen(np.ascontiguousarray(ab.numpy()), *bicubic_weights(ab.shape[2], width))
    high = widen(np.ascontiguousarray(wide.transpose(0, 2, 1)), *bicubic_weights(ab.shape[1], height))
    return torch.from_numpy(high.transpose(0, 2, 1))


@pytest.mark.parametrize(
    ("height", "width"), [(300, 400), (299, 401), (57, 55), (40, 30), (300, 20), (500, 1), (1, 500), (1, 1)]
)
def test_both_directions_are_resized_as_pillow_does(height: int, width: int) -> None:
    planes = [Image.fromarray(plane.numpy()).resize((width, height), Image.Resampling.BICUBIC) for plane in CHROMA]
    expected = torch.from_numpy(np.stack([np.asarray(plane) for plane in planes]))
    torch.testing.assert_close(enlarge(CHROMA, height, width), expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize(("height", "width"), [(300, 400), (20, 30), (1, 5000), (5000, 1)])
def test_constant_chroma_stays_constant(height: int, width: int) -> None:
    ab = torch.tensor([12.5, -40.0])[:, None, None].expand(2, 56, 56)
    enlarged = enlarge(ab, height, width)
    assert enlarged.shape == (2, height, width)
    assert enlarged.dtype == torch.float32
    torch.testing.assert_close(enlarged, ab[:, :1, :1].expand_as(enlarged))


def test_enlarging_to_the_same_size_changes_nothing() -> None:
    torch.testing.assert_close(enlarge(CHROMA, 56, 56), CHROMA, rtol=0, atol=1e-5)


def test_enlarging_is_bicubic_and_aligned() -> None:
    ramp = torch.linspace(-50, 50, 56).expand(2, 56, 56)
    expected = torch.nn.functional.interpolate(ramp[None], (168, 280), mode="bicubic", antialias=True)[0]
    torch.testing.assert_close(enlarge(ramp, 168, 280), expected, rtol=0, atol=1e-3)


def test_photo_smaller_than_the_map_averages_its_chroma() -> None:
    checkerboard = ((torch.arange(64)[:, None] + torch.arange(64)).remainder(2) * 2 - 1) * 60.0
    assert enlarge(checkerboard.expand(2, 64, 64), 8, 8).abs().max() < 1
