"""The photograph's lightness survives whatever the network says, and no channel is clipped to get there."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from service.imaging.borders.boxes import Box
from service.imaging.color import gray_to_lightness, lab_to_linear_rgb, rgb_to_lab, srgb_encode
from service.imaging.kernels import enlarge, lightness_of
from service.imaging.recompose import Output, Painting, Part, layout_of, recompose
from service.imaging.upsample import Chroma
from service.imaging.writing.sheets import Layout

RED = torch.tensor([40.0, 25.0])[:, None, None].expand(2, 56, 56)


class Canvas:
    """A sheet that keeps its pixels, (H, W, channels)."""

    def __init__(self, lightness: Tensor, channels: int = 3, depth: int = 8) -> None:
        height, width = lightness.shape
        self.layout: Layout = layout_of(width, height, channels, depth)
        self.pixels = np.zeros((height, width, channels), f"u{depth // 8}")

    def put(self, index: int, pixels: NDArray[Any]) -> None:
        self.layout.check(index, pixels)
        self.pixels[index * self.layout.rows :][: len(pixels)] = pixels


def painted(
    lightness: Tensor,
    parts: Sequence[Part],
    depth: int = 8,
    output: Output = Output.IMAGE,
    alpha: Tensor | None = None,
) -> NDArray[Any]:
    canvas = Canvas(lightness, output.channels + (alpha is not None), depth)
    painting = Painting(lightness, alpha, parts, canvas, output)
    painting.paint()
    painting.wait()
    return canvas.pixels


def whole(lightness: Tensor, ab: Tensor) -> list[Part]:
    """One part that is all of the photograph."""
    return [Part(Box(0, 0, *lightness.shape), ab)]


def to_lab(rgb: Tensor) -> Tensor:
    """uint8 (H, W, 3) → CIELAB (3, H, W)."""
    return rgb_to_lab(rgb.permute(2, 0, 1).float() / 255)


def lightness_error(lightness: Tensor, ab: Tensor, depth: int) -> Tensor:
    """|ΔL*| of each pixel of what is painted."""
    pixels = painted(lightness, whole(lightness, ab), depth)
    return (torch.from_numpy(lightness_of(pixels)) - lightness).abs().flatten()


def wheel(chroma: float) -> tuple[Tensor, Tensor]:
    """Every lightness down, every hue across, at one chroma: L* (101, 360) and ab (2, 101, 360)."""
    hue = torch.arange(360).deg2rad()
    ab = torch.stack((hue.cos(), hue.sin()))[:, None].expand(2, 101, 360) * chroma
    return torch.arange(101.0)[:, None].expand(101, 360), ab


@pytest.fixture(scope="module")
def noise() -> tuple[Tensor, Tensor]:
    """Random lightness and large random chroma: L* (150, 200) and ab (2, 150, 200)."""
    generator = torch.Generator().manual_seed(0)
    lightness = torch.empty(150, 200).uniform_(0, 100, generator=generator)
    return lightness, torch.empty(2, 150, 200).uniform_(-128, 128, generator=generator)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (1, 256), (256, 1)])
def test_without_chroma_every_grey_level_comes_back(height: int, width: int) -> None:
    gray = torch.arange(256, dtype=torch.uint8).view(height, width)
    rgb = recompose(gray_to_lightness(gray / 255), torch.zeros(2, 8, 8))
    assert torch.equal(rgb, gray[:, :, None].expand(height, width, 3))


def test_every_grey_level_of_16_bits_comes_back_but_for_rounding() -> None:
    gray = np.arange(65_536, dtype=np.uint16).reshape(256, 256)
    lightness = torch.from_numpy(lightness_of(gray[..., None].repeat(3, axis=2)))
    pixels = painted(lightness, whole(lightness, torch.zeros(2, 8, 8)), 16).astype(int)
    assert np.abs(pixels - gray[..., None]).max() <= 1
    assert np.ptp(pixels, axis=2).max() == 0


def test_colours_inside_the_gamut_come_out_as_asked() -> None:
    lightness, ab = wheel(20)
    linear = lab_to_linear_rgb(torch.cat((lightness[None], ab)))
    inside = ((linear >= 0) & (linear <= 1)).all(dim=0)
    error = (to_lab(recompose(lightness, ab)) - torch.cat((lightness[None], ab))).norm(dim=0)
    assert inside.float().mean() > 0.5
    # Rounding to 8 bits moves dark colours furthest.
    assert error[inside].quantile(0.99) < 1.5
    assert error[inside & (lightness > 30)].max() < 1


@pytest.mark.parametrize("saturation", [1, 1.5])
def test_lightness_survives_large_chroma(noise: tuple[Tensor, Tensor], saturation: float) -> None:
    lightness, ab = noise
    error = lightness_error(lightness, ab * saturation, 8)
    assert error.kthvalue(int(0.99 * error.numel())).values <= 0.5


def test_in_16_bits_lightness_survives_everywhere(noise: tuple[Tensor, Tensor]) -> None:
    """Inside the gamut and outside, black and white included: the worst is 0.007."""
    ramp = torch.linspace(0, 100, 65_536).view(256, 256)
    for lightness, ab in (
        (ramp, torch.zeros(2, 8, 8)),
        (ramp, RED / 4),
        noise,
        (noise[0], noise[1] * 1.5),
        *(wheel(chroma) for chroma in (20, 60, 120)),
    ):
        assert lightness_error(lightness, ab, 16).max() <= 0.01


@pytest.mark.parametrize("chroma", [30, 60, 120])
def test_lightness_and_hue_survive_all_round_the_wheel(chroma: float) -> None:
    lightness, ab = wheel(chroma)
    lab = to_lab(recompose(lightness, ab))
    assert (lab[0] - lightness).abs().quantile(0.99) <= 0.5
    measured = lab[1:].norm(dim=0)
    # The distance across the hue's ray, in units of chroma: an angle would grow without bound as chroma goes to 0.
    across = (lab[1] * ab[1] - lab[2] * ab[0]).abs() / chroma
    visible = (measured > 10) & (lightness > 10)
    assert visible.float().mean() > 0.5
    assert across[visible].quantile(0.99) < 1
    assert (lab[1] * ab[0] + lab[2] * ab[1])[visible].min() > 0


def test_as_much_chroma_is_kept_as_the_gamut_holds() -> None:
    lightness, ab = wheel(120)
    kept = to_lab(recompose(lightness, ab))[1:].norm(dim=0) / 120
    further = torch.cat((lightness[None], ab * (kept + 0.04).clamp(max=1)))
    linear = lab_to_linear_rgb(further)
    outside = (linear < 0).any(dim=0) | (linear > 1).any(dim=0)
    assert outside[(kept < 0.95) & (lightness > 5)].float().mean() > 0.99


def test_one_pass_equals_the_definition_of_the_colour_space() -> None:
    lightness, ab = wheel(20)
    linear = lab_to_linear_rgb(torch.cat((lightness[None], ab)))
    inside = ((linear >= 0) & (linear <= 1)).all(dim=0)
    expected = (srgb_encode(linear) * 255).permute(1, 2, 0)
    assert (recompose(lightness, ab) - expected).abs()[inside].max() <= 0.53


@pytest.mark.parametrize(("height", "width"), [(1, 5000), (5000, 1), (1, 1), (30, 40)])
def test_any_shape_is_coloured(height: int, width: int) -> None:
    rgb = recompose(torch.full((height, width), 50.0), torch.full((2, 56, 56), 30.0))
    assert rgb.shape == (height, width, 3)
    assert rgb.dtype == torch.uint8
    assert (rgb[..., 0] > rgb[..., 2]).all()


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 1e30])
def test_what_is_no_number_gives_a_defined_picture(value: float, depth: int) -> None:
    """Cast to an integer it could be any place in memory."""
    lightness, ab = torch.full((64, 64), 60.0), torch.full((2, 16, 16), 10.0)

    def recompose(lightness: Tensor, ab: Tensor) -> Tensor:
        return torch.from_numpy(painted(lightness, whole(lightness, ab), depth).astype(np.int32))

    expected = recompose(lightness, ab)
    hurt = ab.clone()
    hurt[:, 7:12, 7:12] = value
    rgb = recompose(lightness, hurt)
    assert torch.equal(rgb[:8, :8], expected[:8, :8])
    assert rgb[36:40, 36:40].float().std(dim=2).max() < 1  # grey
    hurt = lightness.clone()
    hurt[10:20, 10:20] = value
    rgb = recompose(hurt, ab)
    assert torch.equal(rgb[30:], expected[30:])
    assert rgb[10:20, 10:20].flatten(0, 1).unique(dim=0).shape[0] == 1


@pytest.mark.parametrize("depth", [8, 16])
def test_around_the_pictures_all_is_grey_and_in_them_it_is_as_if_they_were_alone(
    noise: tuple[Tensor, Tensor], depth: int
) -> None:
    lightness = noise[0].repeat(3, 5)  # (450, 1000): seven bands
    boxes = [Box(10, 20, 200, 500), Box(100, 501, 450, 1000), Box(300, 0, 301, 1)]
    parts = [Part(box, RED * sign) for box, sign in zip(boxes, (1, -1, 0.5), strict=True)]
    pixels = painted(lightness, parts, depth)
    grey = painted(lightness, whole(lightness, torch.zeros(2, 1, 1)), depth)
    around = np.ones(lightness.shape, bool)
    for box, field in parts:
        inside = lightness[box.slices]
        assert np.array_equal(pixels[box.slices], painted(inside, whole(inside, field), depth))
        assert np.ptp(pixels[box.slices], axis=2).mean() > 10
        around[box.slices] = False
    assert np.array_equal(pixels[around], grey[around])
    assert np.ptp(pixels[around], axis=1).max() == 0


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("alpha_depth", [8, 16])
def test_alpha_goes_with_the_picture_at_its_depth(depth: int, alpha_depth: int) -> None:
    lightness = torch.full((256, 256), 50.0)
    levels = np.arange(65_536).reshape(256, 256).astype(f"u{alpha_depth // 8}")
    pixels = painted(lightness, whole(lightness, RED), depth, alpha=torch.from_numpy(levels))
    exact = levels / (2**alpha_depth - 1) * (2**depth - 1)
    assert np.abs(pixels[..., 3] - exact).max() <= 0.5
    assert np.array_equal(pixels[..., :3], painted(lightness, whole(lightness, RED), depth))


@pytest.mark.parametrize("depth", [8, 16])
def test_the_colours_alone_can_be_read_from_their_levels(noise: tuple[Tensor, Tensor], depth: int) -> None:
    """As `Output.AB` says: a step is 1 in 8 bits, 1/256 in 16."""
    lightness, box = noise[0].repeat(3, 5), Box(100, 300, 400, 900)
    field = torch.randn(2, 56, 56, generator=torch.Generator().manual_seed(1)) * 25
    pixels = painted(lightness, [Part(box, field)], depth, Output.AB).astype(np.float64)
    middle, step = 2 ** (depth - 1), 2.0 ** (8 - depth)
    assert (pixels[..., 2] == middle).all()
    ab = (pixels[..., :2] - middle) * step
    outside = np.ones(lightness.shape, bool)
    outside[box.slices] = False
    assert (ab[outside] == 0).all()
    inside = lightness[box.slices].contiguous()
    chroma = Chroma.of(field, inside)
    exact = enlarge(inside.numpy(), chroma.colors, chroma.guide, chroma.rows, chroma.columns).transpose(1, 2, 0)
    held = np.abs(exact) < 127
    assert held.mean() > 0.9
    assert np.abs(ab[box.slices] - exact)[held].max() <= step / 2 + 1e-4


@pytest.mark.parametrize("depth", [8, 16])
def test_colours_beyond_the_levels_are_the_last_of_them(depth: int) -> None:
    lightness = torch.full((64, 64), 50.0)
    field = torch.tensor([500.0, -500.0])[:, None, None].expand(2, 16, 16)
    pixels = painted(lightness, whole(lightness, field), depth, Output.AB)
    assert (pixels == [2**depth - 1, 0, 2 ** (depth - 1)]).all()


@pytest.mark.parametrize("depth", [8, 16])
def test_confidence_is_a_share_of_white_and_none_around_the_pictures(depth: int) -> None:
    lightness, box = torch.full((100, 300), 50.0), Box(20, 100, 100, 280)
    shares = torch.linspace(0, 1, 56).expand(2, 56, 56)
    pixels = painted(lightness, [Part(box, shares)], depth, Output.CONFIDENCE)
    assert pixels.shape == (100, 300, 1)
    outside = np.ones(lightness.shape, bool)
    outside[box.slices] = False
    assert (pixels[outside] == 0).all()
    found = pixels[box.slices][..., 0] / (2**depth - 1)
    assert np.abs(found - np.linspace(0, 1, 180)).max() < 0.02
    assert (np.diff(found.mean(axis=0)) >= 0).all()


def test_several_threads_paint_one_photograph() -> None:
    lightness, ab = torch.rand(300, 1000) * 100, torch.randn(2, 224, 224) * 20
    canvas = Canvas(lightness)
    painting, barrier = Painting(lightness, None, whole(lightness, ab), canvas), threading.Barrier(3)
    assert painting.bands_left > 3

    def work() -> Tensor:
        barrier.wait(20)
        while painting.paint(1):
            pass
        painting.wait()
        return torch.from_numpy(canvas.pixels.copy())

    with ThreadPoolExecutor(3) as pool:
        jobs = [pool.submit(work) for _ in range(3)]
        for job in jobs:
            assert torch.equal(job.result(20), recompose(lightness, ab))


def test_a_painting_can_be_interrupted_between_bands() -> None:
    lightness = torch.rand(300, 1000) * 100
    painting = Painting(lightness, None, whole(lightness, torch.zeros(2, 8, 8)), Canvas(lightness))
    bands = painting.bands_left
    assert painting.paint(2)
    assert painting.bands_left == bands - 2
    assert not painting.paint(bands)
    assert not painting.paint(1)
    painting.wait()


def test_what_befalls_a_helper_is_raised_where_the_picture_is_waited_for(
    noise: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nobody waits for bands that will never be painted."""

    def fail(*_: object) -> None:
        raise MemoryError

    lightness, ab = noise
    painting = Painting(lightness, None, whole(lightness, ab), Canvas(lightness))
    monkeypatch.setattr("service.imaging.recompose.paint", fail)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(painting.paint).result(20)
    with pytest.raises(MemoryError):
        painting.wait()
