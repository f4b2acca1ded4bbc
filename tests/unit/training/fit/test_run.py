import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from service.network.backbones import BackboneName
from service.network.colorizer import Colorizer
from tests.unit.training.tiny import TINY, batch, tiny_run
from training.errors import OtherRunError
from training.fit.recipe import LossName
from training.fit.run import CHECKPOINT_FILE, Run, learning_rate_factor
from training.photos.crops import split_lab


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
    frozen = 7 if loss is LossName.PERCEPTUAL else 0
    run = tiny_run(loss=loss, photographs=100, learning_rate=1e-2, warm_up=0.0, frozen_layers=frozen)
    rgb, lightness = batch()
    losses = [run.step(rgb, lightness) for _ in range(12)]
    assert losses[-1] < 0.9 * losses[0]
    assert run.photos_seen == 48
    assert all(parameter.grad is not None for parameter in run.model.parameters() if parameter.requires_grad)
    assert run.averaged().eval()(lightness).ab.shape == (4, 2, 32, 32)


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
    assert [other.step(*batch()) for _ in range(3)][2] != losses[2]  # all begin with the grey answer


SECOND: dict[str, Any] = {"fusion_strides": (32, 16, 8, 4), "confidence": True, "hint_share": 0.5}


def test_the_confidence_learns_how_far_off_the_colours_are() -> None:
    run = tiny_run(photographs=400, learning_rate=1e-2, warm_up=0.0, **SECOND)
    rgb, lightness = batch()
    for _ in range(60):
        run.step(rgb, lightness)
    with torch.inference_mode():
        prediction = run.model.eval()(lightness)
    assert prediction.log_scale is not None
    error = (prediction.ab - split_lab(rgb)[1]).abs().mean()
    assert prediction.log_scale.exp().mean().item() == pytest.approx(error.item(), rel=0.5)


def test_the_confidence_moves_no_colour() -> None:
    runs = [tiny_run(photographs=100, **(SECOND | {"confidence": value})) for value in (True, False)]
    runs[1].model.load_state_dict(runs[0].model.state_dict(), strict=False)
    for run in runs:
        for _ in range(3):
            run.step(*batch())
    first, second = (run.model.state_dict() for run in runs)
    assert all(torch.equal(first[name], second[name]) for name in second if not name.endswith("num_batches_tracked"))


def test_hints_are_seen_in_their_share_of_the_pictures() -> None:
    run = tiny_run(photographs=1000, **(SECOND | {"hint_share": 0.25}))
    seen: list[Tensor] = []
    run.model.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[1]))
    for _ in range(30):
        run.step(*batch())
    hinted = torch.cat(seen)[:, 2].amax(dim=(1, 2))
    assert 15 <= hinted.sum() <= 45


def test_frozen_layers_stay_and_the_others_learn() -> None:
    run = tiny_run(frozen_layers=7, photographs=100, learning_rate=1e-2)
    before = {name: tensor.clone() for name, tensor in run.model.backbone.state_dict().items()}
    for _ in range(3):
        run.step(*batch())
    changed = {
        int(name.split(".")[0])
        for name, now in run.model.backbone.state_dict().items()
        if not torch.equal(before[name], now)
    }
    assert changed == set(range(7, 19))


def test_the_trunk_keeps_imagenet_s_statistics() -> None:
    run = tiny_run()
    before = {name: value.clone() for name, value in run.model.backbone.named_buffers()}
    run.step(*batch())
    assert all(torch.equal(value, before[name]) for name, value in run.model.backbone.named_buffers())


def test_the_validation_loss_is_the_mean_squared_error_whatever_the_recipe() -> None:
    rgb, _ = batch(5)
    lightness, target = split_lab(rgb)
    for loss in ("mse", "classification"):
        run = tiny_run(loss=loss)
        run.step(*batch())
        expected = (run.averaged().eval()(lightness).ab - target).square().mean().item()
        assert run.validation_loss(rgb) == pytest.approx(expected, rel=1e-4)


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


def test_a_run_of_another_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    """Its network may have had what this version has not."""
    file = tmp_path / CHECKPOINT_FILE
    tiny_run().save(file)
    with torch.serialization.safe_globals([BackboneName]):
        state = torch.load(file, weights_only=True)
    state["config"]["saturation_gain"] = 1.0
    torch.save(state, file)
    before = file.read_bytes()
    with pytest.raises(OtherRunError, match=r"another version.*saturation_gain"):
        Run.load(file)
    assert file.read_bytes() == before
