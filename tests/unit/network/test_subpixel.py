from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from service.network.decoder import Decoder
from service.network.subpixel import SubpixelConvolution, SubpixelDecoder


def nothing(x: Tensor) -> Tensor:
    return x


@pytest.mark.parametrize(
    ("inputs", "outputs", "height", "width"), [(3, 5, 7, 7), (1, 1, 1, 1), (4, 2, 9, 13), (2, 3, 1, 6)]
)
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("activation", [nothing, F.relu, torch.tanh])
def test_it_is_the_transposed_convolution_and_the_activation(
    inputs: int, outputs: int, height: int, width: int, batch: int, activation: Callable[[Tensor], Tensor]
) -> None:
    torch.manual_seed(inputs + batch)
    transposed = nn.ConvTranspose2d(inputs, outputs, kernel_size=4, stride=2, padding=1)
    x = torch.randn(batch, inputs, height, width)
    with torch.inference_mode():
        answer = SubpixelConvolution(transposed, activation)(x)
        expected = activation(transposed(x))
    assert answer.shape == (batch, outputs, 2 * height, 2 * width)
    torch.testing.assert_close(answer, expected, atol=1e-5, rtol=1e-5)


def test_every_weight_and_bias_finds_its_place() -> None:
    """Whole numbers, of which float32 makes no mistakes: each pixel tells which weights made it."""
    transposed = nn.ConvTranspose2d(2, 3, kernel_size=4, stride=2, padding=1)
    transposed.weight.data = torch.arange(2 * 3 * 16.0).reshape(2, 3, 4, 4) + 1
    assert transposed.bias is not None
    transposed.bias.data = torch.tensor([1000.0, 2000.0, 3000.0])
    x = torch.randint(0, 8, (2, 2, 5, 4), generator=torch.Generator().manual_seed(3)).float()
    with torch.inference_mode():
        assert torch.equal(SubpixelConvolution(transposed, nothing)(x), transposed(x))


@pytest.mark.parametrize("confidence", [False, True])
def test_a_decoder_is_the_one_it_was_made_of(confidence: bool) -> None:
    torch.manual_seed(5)
    decoder = Decoder(6, (5, 4, 3, 2), (4, 4, 3, 2), dropout=0.5, confidence=confidence).eval()
    nn.init.normal_(decoder.head.weight)  # untrained, it answers grey
    widths = {32: 6, 16: 5, 8: 4, 4: 3, 2: 2}
    maps = {stride: torch.randn(2, width, 224 // stride, 224 // stride) for stride, width in widths.items()}
    with torch.inference_mode():
        answer, expected = SubpixelDecoder(decoder)(maps), decoder(maps)
    assert expected.ab.abs().mean() > 0.1
    torch.testing.assert_close(answer.ab, expected.ab, atol=1e-5, rtol=1e-5)
    if confidence:
        torch.testing.assert_close(answer.log_scale, expected.log_scale, atol=1e-5, rtol=1e-5)
    else:
        assert answer.log_scale is None


def test_the_transposed_convolution_stays_as_it_is() -> None:
    transposed = nn.ConvTranspose2d(2, 3, kernel_size=4, stride=2, padding=1)
    before = transposed.weight.detach().clone()
    with torch.no_grad():
        for parameter in SubpixelConvolution(transposed, nothing).parameters():
            parameter.zero_()
    assert torch.equal(transposed.weight, before)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(3, 2, 1), (4, 1, 1), (4, 2, 0), (2, 2, 0), ((4, 2), 2, 1), (4, (2, 1), 1)]
)
def test_other_kernels_are_refused(kernel: int | tuple[int, int], stride: int | tuple[int, int], padding: int) -> None:
    with pytest.raises(ValueError, match="not of kernel 4, stride 2 and padding 1"):
        SubpixelConvolution(nn.ConvTranspose2d(1, 1, kernel, stride, padding), nothing)
