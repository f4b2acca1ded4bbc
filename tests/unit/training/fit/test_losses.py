from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from service.network.backbones import BackboneName, build_backbone
from training.fit import losses
from training.fit.quantization import Rarity, color_histogram

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


def test_what_is_added_to_the_distance_asks_for_more_colour() -> None:
    # Two opposite answers are equally likely: any colour between them is as near to both, grey among them.
    target = torch.stack((torch.full((2, 4, 4), 0.3), torch.full((2, 4, 4), -0.3)))
    answer = torch.full((1, 2, 4, 4), 0.01, requires_grad=True)
    slopes = []
    for loss in (losses.distance, losses.distance_moments, losses.distance_chroma):
        (gradient,) = torch.autograd.grad(loss(answer.expand(2, -1, -1, -1), target), answer)
        slopes.append(gradient.sum().item())
    assert slopes[0] == pytest.approx(0, abs=1e-4)
    assert max(slopes[1:]) < -0.1
    assert losses.distance_moments(target, target).item() == pytest.approx(0, abs=2e-3)
    assert losses.distance_chroma(target, target).item() == pytest.approx(0, abs=2e-3)


def test_a_few_glowing_spots_are_cheap_where_colourfulness_counts_but_not_where_chroma_does() -> None:
    target = torch.stack((torch.full((2, 4, 4), 0.3), torch.full((2, 4, 4), -0.3)))
    faint = torch.zeros(2, 2, 4, 4)
    faint[:, 0] = 0.05
    spots = torch.zeros(2, 2, 4, 4)
    spots[:, 0, 0, 0] = 0.8  # as much chroma on the mean
    assert losses.distance(spots, target) > losses.distance(faint, target)
    assert losses.distance_moments(spots, target) < losses.distance_moments(faint, target)
    assert losses.distance_chroma(spots, target) > losses.distance_chroma(faint, target)


@pytest.mark.parametrize("loss", [losses.moments, losses.distance_moments, losses.distance_chroma])
def test_colour_has_a_gradient_at_grey(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    answer = torch.zeros(1, 2, 4, 4, requires_grad=True)
    loss(answer, torch.full((1, 2, 4, 4), 0.3)).backward()
    assert answer.grad is not None
    assert answer.grad.isfinite().all()


def test_distance_is_the_mean_length_in_the_ab_plane() -> None:
    target = torch.tensor([0.3, 0.4]).view(1, 2, 1, 1).expand(1, 2, 2, 2)
    assert losses.distance(ZERO, target).item() == pytest.approx(0.5, abs=1e-4)
    answer = target.clone().requires_grad_(True)
    losses.distance(answer, target).backward()
    assert answer.grad is not None
    assert answer.grad.isfinite().all()


def test_laplace_is_least_where_the_scale_is_the_mean_error() -> None:
    predicted = torch.zeros(1, 2, 1, 1, requires_grad=True)
    target = torch.tensor([0.1, -0.3]).view(1, 2, 1, 1)
    scales = torch.linspace(0.05, 0.6, 56)
    values = [losses.laplace(scale.log().view(1, 1, 1, 1), predicted, target) for scale in scales]
    assert scales[torch.stack(values).argmin()].item() == pytest.approx(0.2, abs=0.011)
    assert not values[0].requires_grad


def test_the_perceptual_loss_sees_colour_where_it_is_and_lets_a_grey_answer_learn() -> None:
    trunk = build_backbone(BackboneName.MOBILENET_V2)[:7].eval().requires_grad_(False)
    perceptual = losses.Perceptual(list(trunk), bfloat16=False)
    lightness = torch.full((1, 1, 64, 64), 60.0)
    lightness[..., 32:] = 0  # black, where companding is steepest
    target = torch.zeros(1, 2, 64, 64)
    target[:, 0, :, :16] = 0.3
    grey = torch.zeros_like(target, requires_grad=True)
    loss = perceptual(lightness, grey, target)
    loss.backward()
    assert loss > 0
    assert perceptual(lightness, target, target) == 0
    assert perceptual(lightness, target / 2, target) < loss
    assert grey.grad is not None
    assert grey.grad.isfinite().all()
    assert grey.grad[0, 0, :, :8].mean() < 0
