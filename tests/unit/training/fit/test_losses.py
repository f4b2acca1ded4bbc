import pytest
import torch

from training import losses
from training.quantization import Rarity, color_histogram

ZERO = torch.zeros(1, 2, 2, 2)


def test_mse_is_the_mean_over_channels_and_pixels() -> None:
    target = torch.stack((torch.full((2, 2), 0.5), torch.zeros(2, 2)))[None]
    assert losses.mse(ZERO, target).item() == 0.125


def test_smooth_l1_is_a_square_near_by_and_a_straight_line_far_away() -> None:
    # beta = 0.05: e²/2β = 0.02²/0.1 = 0.004; |e| - β/2 = 0.5 - 0.025 = 0.475
    assert losses.smooth_l1(ZERO, ZERO + 0.02).item() == pytest.approx(0.004)
    assert losses.smooth_l1(ZERO, ZERO + 0.5).item() == pytest.approx(0.475)


def test_rare_colours_weigh_more() -> None:
    common, rare = torch.zeros(1, 2, 8, 8), torch.full((1, 2, 8, 8), 0.4)
    rarity = Rarity(color_histogram(torch.cat((common, common, common, rare))))
    weight = rarity(rare).mean().item()
    assert weight > 1
    assert losses.rarity_weighted_mse(rare + 0.1, rare, rarity).item() == pytest.approx(0.01 * weight, rel=1e-5)
    assert losses.rarity_weighted_mse(common + 0.1, common, rarity).item() < 0.01


def test_moments_are_the_error_and_the_missing_colourfulness() -> None:
    # One half +0.4, the other -0.4 in a: standard deviation 0.4, mean 0. Grey's is 0 but for the root's guard.
    target = torch.tensor([[0.4, -0.4], [0.0, 0.0]]).view(1, 2, 1, 2)
    grey = torch.zeros_like(target)
    # Mean squared error 0.4² / 2; what the guards of 1e-6 leave: 0.001 + 0.3 · 0.001 on either side.
    assert losses.moments(grey, target).item() == pytest.approx(0.08 + (0.4 - 0.001) ** 2, abs=1e-4)
    assert losses.moments(target, target).item() == 0


def test_moments_ask_for_more_colour_where_the_squared_error_does_not() -> None:
    # Two answers are equally likely: the mean of both is grey, and the squared error is content with it.
    target = torch.stack((torch.full((2, 4, 4), 0.3), torch.full((2, 4, 4), -0.3)))
    answer = torch.full((1, 2, 4, 4), 0.01, requires_grad=True)
    slopes = {}
    for loss in (losses.mse, losses.moments):
        (gradient,) = torch.autograd.grad(loss(answer.expand(2, -1, -1, -1), target), answer)
        slopes[loss] = gradient.sum().item()
    assert slopes[losses.mse] > 0  # back to grey
    assert slopes[losses.moments] < 0


def test_moments_have_a_gradient_at_grey() -> None:
    answer = torch.zeros(1, 2, 4, 4, requires_grad=True)
    losses.moments(answer, torch.full((1, 2, 4, 4), 0.3)).backward()
    assert answer.grad is not None
    assert answer.grad.isfinite().all()
