"""The photograph's lightness survives whatever the network says, and no channel is clipped to get there."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from service.imaging.color import gray_to_lightness, lab_to_linear_rgb, rgb_to_lab, srgb_encode
from service.imaging.recompose import Painting, recompose


def to_lab(rgb: Tensor) -> Tensor:
    """uint8 (H, W, 3) → CIELAB (3, H, W)."""
    return rgb_to_lab(rgb.permute(2, 0, 1).float() / 255)


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
    rgb = recompose(gray_to_lightness(gray / 255), torch.zeros(2, 8, 8), 1.0)
    assert torch.equal(rgb, gray[:, :, None].expand(height, width, 3))


def test_saturation_zero_is_grey() -> None:
    gray = torch.arange(256, dtype=torch.uint8)[None]
    rgb = recompose(gray_to_lightness(gray / 255), torch.full((2, 8, 8), 60.0), 0.0)
    assert torch.equal(rgb, gray[:, :, None].expand(1, 256, 3))


def test_saturation_multiplies_chroma() -> None:
    lightness, ab = torch.full((16, 16), 60.0), torch.tensor([10.0, -8.0])[:, None, None].expand(2, 4, 4)
    measured = to_lab(recompose(lightness, ab, 1.5))[1:].mean(dim=(1, 2))
    assert measured.tolist() == pytest.approx([15, -12], abs=0.5)


def test_colours_inside_the_gamut_come_out_as_asked() -> None:
    lightness, ab = wheel(20)
    linear = lab_to_linear_rgb(torch.cat((lightness[None], ab)))
    inside = ((linear >= 0) & (linear <= 1)).all(dim=0)
    error = (to_lab(recompose(lightness, ab, 1.0)) - torch.cat((lightness[None], ab))).norm(dim=0)
    assert inside.float().mean() > 0.5
    # Rounding to 8 bits moves dark colours furthest.
    assert error[inside].quantile(0.99) < 1.5
    assert error[inside & (lightness > 30)].max() < 1


def test_lightness_survives_large_chroma(noise: tuple[Tensor, Tensor]) -> None:
    lightness, ab = noise
    error = (to_lab(recompose(lightness, ab, 1.0))[0] - lightness).abs().flatten()
    assert error.kthvalue(int(0.99 * error.numel())).values <= 0.5


@pytest.mark.parametrize("chroma", [30, 60, 120])
def test_lightness_and_hue_survive_all_round_the_wheel(chroma: float) -> None:
    lightness, ab = wheel(chroma)
    lab = to_lab(recompose(lightness, ab, 1.0))
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
    kept = to_lab(recompose(lightness, ab, 1.0))[1:].norm(dim=0) / 120
    further = torch.cat((lightness[None], ab * (kept + 0.04).clamp(max=1)))
    linear = lab_to_linear_rgb(further)
    outside = (linear < 0).any(dim=0) | (linear > 1).any(dim=0)
    assert outside[(kept < 0.95) & (lightness > 5)].float().mean() > 0.99


def test_one_pass_equals_the_definition_of_the_colour_space() -> None:
    lightness, ab = wheel(20)
    linear = lab_to_linear_rgb(torch.cat((lightness[None], ab)))
    inside = ((linear >= 0) & (linear <= 1)).all(dim=0)
    expected = (srgb_encode(linear) * 255).permute(1, 2, 0)
    assert (recompose(lightness, ab, 1.0) - expected).abs()[inside].max() <= 0.53


@pytest.mark.parametrize(("height", "width"), [(1, 5000), (5000, 1), (1, 1), (30, 40)])
def test_any_shape_is_coloured(height: int, width: int) -> None:
    rgb = recompose(torch.full((height, width), 50.0), torch.full((2, 56, 56), 30.0), 1.0)
    assert rgb.shape == (height, width, 3)
    assert rgb.dtype == torch.uint8
    assert (rgb[..., 0] > rgb[..., 2]).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 1e30])
def test_what_is_no_number_gives_a_defined_picture(value: float) -> None:
    """Cast to an integer it could be any place in memory."""
    lightness, ab = torch.full((64, 64), 60.0), torch.full((2, 16, 16), 10.0)
    expected = recompose(lightness, ab, 1.0)
    hurt = ab.clone()
    hurt[:, 7:12, 7:12] = value
    rgb = recompose(lightness, hurt, 1.0)
    assert torch.equal(rgb[:8, :8], expected[:8, :8])
    assert rgb[36:40, 36:40].float().std(dim=2).max() < 1  # grey
    hurt = lightness.clone()
    hurt[10:20, 10:20] = value
    rgb = recompose(hurt, ab, 1.0)
    assert torch.equal(rgb[30:], expected[30:])
    assert rgb[10:20, 10:20].flatten(0, 1).unique(dim=0).shape[0] == 1


@pytest.mark.parametrize("saturation", [float("nan"), float("inf"), float("-inf")])
def test_a_saturation_that_is_no_number_is_an_error(saturation: float) -> None:
    with pytest.raises(ValueError, match="saturation"):
        recompose(torch.full((4, 4), 60.0), torch.zeros(2, 8, 8), saturation)


def test_several_threads_paint_one_photograph() -> None:
    lightness, ab = torch.rand(300, 1000) * 100, torch.randn(2, 224, 224) * 20
    painting, barrier = Painting(lightness, ab, 1.0), threading.Barrier(3)
    assert painting.bands_left > 3

    def work() -> Tensor:
        barrier.wait(20)
        while painting.paint(1):
            pass
        painting.wait()
        return painting.rgb.clone()

    with ThreadPoolExecutor(3) as pool:
        jobs = [pool.submit(work) for _ in range(3)]
        for job in jobs:
            assert torch.equal(job.result(20), recompose(lightness, ab, 1.0))


def test_a_painting_can_be_interrupted_between_bands() -> None:
    painting = Painting(torch.rand(300, 1000) * 100, torch.zeros(2, 8, 8), 1.0)
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

    painting = Painting(*noise, 1.0)
    monkeypatch.setattr("service.imaging.recompose.paint", fail)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(painting.paint).result(20)
    with pytest.raises(MemoryError):
        painting.wait()
