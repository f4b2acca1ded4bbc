import pytest
import torch
from torch import Tensor, nn

from service.network.backbones import BackboneName
from tests.conftest import build_colorizer
from training.fit.precision import keep_float32


@pytest.mark.parametrize("backbone", BackboneName)
def test_layers_that_need_it_compute_in_float32_under_autocast(backbone: BackboneName) -> None:
    colorizer = build_colorizer(backbone)
    keep_float32(colorizer)
    seen: dict[str, torch.dtype] = {}
    for name, module in colorizer.backbone.named_modules():
        if isinstance(module, nn.Conv2d):

            def see(_module: nn.Module, _inputs: object, output: Tensor, name: str = name) -> None:
                seen[name] = output.dtype

            module.register_forward_hook(see)
    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
        colorizer(torch.rand(1, 1, 64, 64) * 100)
    float32 = {name for name, dtype in seen.items() if dtype is torch.float32}
    stem = {name for name in seen if int(name.split(".")[0]) < 3} if backbone is BackboneName.MOBILENET_V2 else set()
    strided = {
        name
        for name, module in colorizer.backbone.named_modules()
        if isinstance(module, nn.Conv2d) and module.groups > 1 and module.stride == (2, 2)
    }
    assert float32 == stem | strided
    assert len(strided) == (4 if backbone is BackboneName.MOBILENET_V2 else 0)
