import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from service.network.colorizer import Colorizer
from tests.unit.training.tiny import TINY, batch, tiny_run
from training.data import split_lab
from training.recipe import LossName
from training.run import CHECKPOINT_FILE, Run, learning_rate_factor


def weights(run: Run) -> list[Tensor]:
    return [*run.model.state_dict().values(), *run.averaged().state_dict().values()]


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_the_learning_rate_warms_up_and_cools_down_to_zero() -> None:
    assert learning_rate_factor(0, 0.1) == 0
    assert learning_rate_factor(0.05, 0.1) == pytest.approx(0.5)
    assert learning_rate_factor(0.1, 0.1) == pytest.approx(1)
    assert learning_rate_factor(0.55, 0.1) == pytest.approx(0.5)
    assert learning_rate_factor(1, 0.1) == pytest.approx(0)
    assert learning_rate_factor(1.1, 0.1) == pytest.approx(0)


@pytest.mark.parametrize("loss", LossName)
def test_steps_learn(loss: LossName) -> None:
    run = tiny_run(loss=loss, photographs=100, learning_rate=1e-2, warm_up=0.0)
    rgb, lightness = batch()
    losses = [run.step(rgb, lightness) for _ in range(12)]
    assert losses[-1] < 0.9 * losses[0]
    assert run.photos_seen == 48
    assert all(parameter.grad is not None for parameter in run.model.parameters())
    assert run.averaged().eval()(lightness).shape == (4, 2, 224, 224)


def test_the_backbone_learns_more_slowly() -> None:
    run = tiny_run()
    run.step(*batch())
    rates = {group["initial_lr"] for group in run.optimizer.param_groups}
    assert max(rates) == pytest.approx(10 * min(rates))


def test_a_backbone_with_rate_zero_stays_as_it_is_batch_norm_included() -> None:
    run = tiny_run(backbone_learning_rate=0.0)
    before = [tensor.clone() for tensor in run.model.backbone.state_dict().values()]
    for _ in range(2):
        run.step(*batch())
    assert same(before, list(run.model.backbone.state_dict().values()))


def test_norms_and_biases_are_not_decayed() -> None:
    for group in tiny_run().optimizer.param_groups:
        assert all((parameter.ndim > 1) == (group["weight_decay"] > 0) for parameter in group["params"])


def test_the_average_follows_the_weights() -> None:
    run = tiny_run(ema_share=1.0)
    for _ in range(3):
        run.step(*batch())
    live, averaged = run.model.decoder.head.weight, run.averaged().decoder.head.weight
    assert averaged.any()
    assert not torch.equal(live, averaged)


@pytest.mark.parametrize("changes", [{}, {"loss": "classification", "patience": 1}], ids=str)
def test_a_seed_gives_the_same_weights_in_one_go_and_interrupted(changes: dict[str, Any], tmp_path: Path) -> None:
    whole, interrupted, other = tiny_run(3, **changes), tiny_run(3, **changes), tiny_run(4, **changes)
    losses = [whole.step(*batch()) for _ in range(3)]
    first = interrupted.step(*batch())
    interrupted.seconds = 12.5
    interrupted.judge(0.5)
    interrupted.save(tmp_path / CHECKPOINT_FILE)
    torch.rand(1)  # whatever else draws random numbers must not matter
    resumed = Run.load(tmp_path / CHECKPOINT_FILE)
    assert (resumed.config, resumed.recipe, resumed.seconds, resumed.photos_seen) == (TINY, whole.recipe, 12.5, 4)
    assert resumed.best_loss == 0.5
    assert [first, resumed.step(*batch()), resumed.step(*batch())] == losses
    assert same(weights(resumed), weights(whole))
    assert resumed.finished
    assert other.step(*batch()) != losses[0]


def test_small_windows_are_the_same_of_colour_and_lightness(monkeypatch: pytest.MonkeyPatch) -> None:
    run = tiny_run(crop_size=64)
    rgb = torch.randint(0, 256, (2, 3, 224, 224), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    lightness, target = split_lab(rgb)
    seen: list[Tensor] = []
    targets: list[Tensor] = []
    run.model.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    loss = run.loss

    def spy(predicted: Tensor, target: Tensor) -> Tensor:
        targets.append(target)
        return loss(predicted, target)

    monkeypatch.setattr(run, "loss", spy)
    for _ in range(2):
        run.step(rgb, lightness)
    assert [tuple(window.shape) for window in seen] == [(2, 1, 64, 64)] * 2
    assert not torch.equal(seen[0], seen[1])
    whole = torch.cat((lightness, target), dim=1)
    for window in (torch.cat(pair, dim=1) for pair in zip(seen, targets, strict=True)):
        corners = whole.unfold(2, 64, 1).unfold(3, 64, 1)[0, :, :, :, 0, 0]
        matches = corners.isclose(window[0, :, 0, 0].view(3, 1, 1)).all(dim=0).nonzero()
        assert any(window.allclose(whole[:, :, top : top + 64, left : left + 64]) for top, left in matches.tolist())


def test_the_validation_loss_is_the_mean_squared_error_whatever_the_recipe() -> None:
    rgb, _ = batch(5)
    lightness, target = split_lab(rgb)
    for loss in ("mse", "classification"):
        run = tiny_run(loss=loss)
        run.step(*batch())
        expected = (run.averaged().eval()(lightness) - target).square().mean().item()
        assert run.validation_loss(rgb) == pytest.approx(expected, rel=0.01)  # bfloat16 on some processors


def test_a_run_out_of_patience_ends_with_the_weights_of_its_best() -> None:
    run = tiny_run(photographs=1000, patience=2)
    run.step(*batch())
    run.judge(0.3)
    best = [tensor.clone() for tensor in run.averaged().state_dict().values()]
    for loss in (0.4, 0.3):
        assert not run.finished
        run.step(*batch())
        run.judge(loss)
    assert run.finished
    assert same(best, list(run.averaged().state_dict().values()))


def test_without_patience_a_run_goes_on_for_ever() -> None:
    run = tiny_run()
    for _ in range(20):
        run.judge(math.inf)
    assert not run.finished


def test_a_run_can_start_from_a_colorizer(mobilenet_colorizer: Colorizer) -> None:
    for loss in ("mse", "classification"):
        run = Run(mobilenet_colorizer.config, tiny_run(loss=loss).recipe, 0, tiny_run().histogram)
        run.start_from(mobilenet_colorizer)
        assert same(
            list(mobilenet_colorizer.backbone.state_dict().values()), list(run.model.backbone.state_dict().values())
        )
