import pytest
import torch

from service.imaging.upsample import reduce
from training.measure.canvas import Canvas


@pytest.mark.parametrize(
    ("photograph", "seen"),
    [
        ((256, 256), (224, 224)),
        ((256, 341), (224, 288)),  # 298 is nearer to 288 than to 320
        ((352, 256), (320, 224)),
        ((100, 1000), (224, 448)),  # a panorama is squeezed after all
        ((3000, 2990), (224, 224)),
    ],
)
def test_aspect_is_nearly_the_photograph_s_own(photograph: tuple[int, int], seen: tuple[int, int]) -> None:
    assert Canvas.ASPECT.size(*photograph) == seen
    assert Canvas.ASPECT.reduce(torch.zeros(photograph)).shape == (1, 1, *seen)
    assert Canvas.SQUARE.size(*photograph) == (224, 224)


def test_both_canvases_reduce_as_the_service_does() -> None:
    lightness = torch.rand(300, 300, generator=torch.Generator().manual_seed(0)) * 100
    expected = reduce(lightness, 224)[None]
    assert torch.equal(Canvas.SQUARE.reduce(lightness), expected)
    assert torch.equal(Canvas.ASPECT.reduce(lightness), expected)
