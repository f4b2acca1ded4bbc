import copy

import pytest
import torch
from torch import Tensor, nn

from service.network.backbones import BackboneName, build_backbone
from training.fit.folding import fold_batch_norms


@pytest.fixture(params=list(BackboneName))
def trunk(request: pytest.FixtureRequest) -> nn.Module:
    """With statistics and parameters that are not those of a new network."""
    torch.manual_seed(0)
    trunk = build_backbone(request.param)
    for module in trunk.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.2, 0.8)
            nn.init.normal_(module.bias, std=0.1)
    return trunk.eval()


@pytest.fixture
def picture() -> Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def test_the_answer_and_all_gradients_are_the_same(trunk: nn.Module, picture: Tensor) -> None:
    folded = copy.deepcopy(trunk)
    fold_batch_norms(folded)
    answers = [network(picture) for network in (trunk, folded)]
    torch.testing.assert_close(answers[1], answers[0], atol=1e-4, rtol=1e-4)
    for answer in answers:
        answer.square().sum().backward()
    for expected, parameter in zip(trunk.parameters(), folded.parameters(), strict=True):
        assert expected.grad is not None
        assert parameter.grad is not None
        assert (parameter.grad - expected.grad).abs().max() <= 1e-3 * expected.grad.abs().max() + 1e-6


def test_no_batch_norm_is_left(trunk: nn.Module, picture: Tensor) -> None:
    fold_batch_norms(trunk)
    names = []
    for name, module in trunk.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(
                lambda _module, inputs, output, name=name: names.append(name) if output is not inputs[0] else None
            )
    trunk(picture)
    assert names == []


def test_names_and_statistics_stay_even_in_training_mode(trunk: nn.Module, picture: Tensor) -> None:
    before = copy.deepcopy(trunk.state_dict())
    fold_batch_norms(trunk)
    trunk.train()(picture)
    after = trunk.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
