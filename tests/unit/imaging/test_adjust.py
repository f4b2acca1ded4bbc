"""How much colour, and how warm: factors on chroma, and a tint that is a change of the light."""

import pytest
import torch
from skimage.color import xyz2lab
from torch import Tensor

from service.imaging.adjust import UNCHANGED, Adjustment


@pytest.fixture
def ab() -> Tensor:
    return torch.randn(2, 20, 30, generator=torch.Generator().manual_seed(0)) * 30


@pytest.fixture
def lightness() -> Tensor:
    return torch.linspace(0, 100, 600).view(1, 20, 30)


def test_the_default_changes_nothing(ab: Tensor, lightness: Tensor) -> None:
    assert torch.equal(UNCHANGED.apply(ab, lightness), ab)


def test_saturation_and_strength_are_factors(ab: Tensor, lightness: Tensor) -> None:
    torch.testing.assert_close(Adjustment(saturation=1.5).apply(ab, lightness), 1.5 * ab)
    torch.testing.assert_close(Adjustment(strength=0.4).apply(ab, lightness), 0.4 * ab)
    torch.testing.assert_close(Adjustment(saturation=2, strength=0.25).apply(ab, lightness), 0.5 * ab)


def test_without_strength_even_warmth_is_grey_and_without_saturation_it_is_a_tint(
    ab: Tensor, lightness: Tensor
) -> None:
    assert not Adjustment(strength=0, warmth=1).apply(ab, lightness).any()
    tint = Adjustment(saturation=0, warmth=1).apply(ab, lightness)
    torch.testing.assert_close(tint, Adjustment(warmth=1).apply(ab, lightness) - ab)
    torch.testing.assert_close(Adjustment(0.5, 0.5, 1).apply(ab, lightness), 0.5 * (0.5 * ab + tint))


def test_warmth_is_what_daylight_of_noon_is_to_that_of_a_low_sun(lightness: Tensor) -> None:
    """A grey of any lightness under D50, in CIELAB relative to D65."""
    grey = torch.zeros(2, 20, 30)
    tint = Adjustment(warmth=1).apply(grey, lightness)
    f = (lightness[0].double() + 16) / 116
    relative = torch.where(f > 6 / 29, f**3, (f - 4 / 29) * 3 * (6 / 29) ** 2)
    # CIE 15:2004, 2° observer.
    d50 = torch.tensor([0.96422, 1.0, 0.82521], dtype=torch.float64)
    lab = torch.from_numpy(xyz2lab((relative[..., None] * d50).numpy(), illuminant="D65")).permute(2, 0, 1)
    # Only near black is CIELAB's curve a line, where the factor on X and Z is no factor on its f.
    usual = lightness[0] > 20
    assert (tint - lab[1:])[:, usual].abs().max() < 0.1
    torch.testing.assert_close(Adjustment(warmth=-1).apply(grey, lightness), -tint)
    torch.testing.assert_close(Adjustment(warmth=0.5).apply(grey, lightness), 0.5 * tint)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), -0.01])
def test_a_saturation_that_is_no_factor_is_an_error(value: float) -> None:
    with pytest.raises(ValueError, match="saturation"):
        Adjustment(saturation=value)


@pytest.mark.parametrize("value", [float("nan"), -0.01, 1.01])
def test_so_is_a_strength_that_is_no_share(value: float) -> None:
    with pytest.raises(ValueError, match="strength"):
        Adjustment(strength=value)


@pytest.mark.parametrize("value", [float("nan"), -1.01, 1.01])
def test_so_is_a_warmth_beyond_its_ends(value: float) -> None:
    with pytest.raises(ValueError, match="warmth"):
        Adjustment(warmth=value)
