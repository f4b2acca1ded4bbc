import pytest
import torch
from torch import Tensor

from service.network.backbones import BackboneName
from service.network.chroma import CERTAINTIES, HUES, LIGHTNESSES, ChromaMap
from tests.conftest import build_colorizer, randomize


def colors(chroma: Tensor, hue: Tensor) -> Tensor:
    """Chroma (N,) and hue in degrees (N,) → a*, b* (1, 2, 1, N)."""
    angle = torch.deg2rad(hue)
    return torch.stack((chroma * angle.cos(), chroma * angle.sin()))[None, :, None]


def mapped(chroma_map: ChromaMap, ab: Tensor, error: float | None = None, lightness: float = 50.0) -> Tensor:
    one = torch.ones_like(ab[:, :1])
    answer: Tensor = chroma_map(ab, None if error is None else one * error, one * lightness)
    return answer


def chroma(ab: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(ab, dim=1).flatten()
    return length


@pytest.fixture
def ab() -> Tensor:
    return torch.randn(2, 2, 8, 8, generator=torch.Generator().manual_seed(0)) * 20


@pytest.fixture
def any_map() -> ChromaMap:
    generator = torch.Generator().manual_seed(0)
    chroma_map = ChromaMap()
    # As steep as fitted ones may fall.
    chroma_map.gains.copy_(3 * 0.75 ** torch.arange(CERTAINTIES))
    chroma_map.gains[::2] = 1 + torch.rand(HUES // 2, CERTAINTIES, generator=generator) * 0.2
    chroma_map.ceilings.copy_(20 + 40 * torch.rand(HUES, LIGHTNESSES, generator=generator))
    return chroma_map


def test_a_new_map_changes_nothing(ab: Tensor) -> None:
    torch.testing.assert_close(mapped(ChromaMap(), ab), ab)


def test_hue_stays(ab: Tensor, any_map: ChromaMap) -> None:
    answer = mapped(any_map, ab, error=5.0)
    torch.testing.assert_close(torch.atan2(answer[:, 1], answer[:, 0]), torch.atan2(ab[:, 1], ab[:, 0]))


def test_grey_stays_grey(any_map: ChromaMap) -> None:
    for error in (None, 0.0, 10.0):
        assert torch.equal(mapped(any_map, torch.zeros(1, 2, 4, 4), error), torch.zeros(1, 2, 4, 4))


def test_the_gain_is_that_of_the_hue_and_the_certainty() -> None:
    chroma_map = ChromaMap()
    chroma_map.gains[6] = torch.linspace(1, 2, CERTAINTIES)  # 90 degrees: yellow
    yellow, red = (colors(torch.tensor([20.0]), torch.tensor([hue])) for hue in (90.0, 0.0))
    torch.testing.assert_close(chroma(mapped(chroma_map, yellow, error=20.0)), torch.tensor([20 * 1.5]))
    torch.testing.assert_close(chroma(mapped(chroma_map, yellow, error=5.0)), torch.tensor([20 * 1.8]))
    torch.testing.assert_close(mapped(chroma_map, red, error=20.0), red)
    # A network that does not tell is taken to be 10 off: certainty is 2/3.
    torch.testing.assert_close(chroma(mapped(chroma_map, yellow)), torch.tensor([20 * (1 + 2 / 3)]))


def test_the_circle_of_hues_is_closed(any_map: ChromaMap) -> None:
    below, above = (mapped(any_map, colors(torch.tensor([15.0]), torch.tensor([hue]))) for hue in (-1e-3, 1e-3))
    torch.testing.assert_close(below, above, atol=1e-2, rtol=0)


def test_nothing_is_lifted_above_the_ceiling_of_its_hue_and_lightness(any_map: ChromaMap) -> None:
    any_map.gains.fill_(3.0)
    any_map.ceilings.fill_(50.0)
    any_map.ceilings[:, 5] = 30.0  # L* = 50
    hues = torch.arange(0.0, 360.0, 7.0)
    faint = colors(torch.full_like(hues, 25.0), hues)
    dim, bright = mapped(any_map, faint, lightness=50.0), mapped(any_map, faint, lightness=80.0)
    assert (chroma(dim) > 29).all()
    assert (chroma(dim) <= 30).all()
    assert (chroma(bright) > 45).all()
    assert (chroma(bright) <= 50).all()


def test_what_the_network_itself_puts_above_the_ceiling_is_left() -> None:
    chroma_map = ChromaMap()
    chroma_map.gains.fill_(1.5)
    chroma_map.ceilings.fill_(30.0)
    strong = colors(torch.tensor([40.0]), torch.tensor([0.0]))
    torch.testing.assert_close(mapped(chroma_map, strong), strong)
    chroma_map.gains.fill_(0.9)  # what is too strong may be made weaker
    torch.testing.assert_close(mapped(chroma_map, strong), 0.9 * strong)


@pytest.mark.parametrize("error", [1.0, 8.0, 30.0])
def test_more_chroma_never_becomes_less(any_map: ChromaMap, error: float) -> None:
    rising = torch.linspace(0.1, 80, 400)
    for hue in range(0, 360, 25):
        answer = chroma(mapped(any_map, colors(rising, torch.full_like(rising, float(hue))), error))
        assert (answer.diff() > -1e-4).all()


@pytest.mark.parametrize("confidence", [False, True])
def test_predictions_are_calibrated(confidence: bool) -> None:
    colorizer = build_colorizer(BackboneName.MOBILENET_V2, calibrated=True, confidence=confidence)
    lightness = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0)) * 100
    raw = colorizer.predict(lightness)
    randomize(colorizer)
    with torch.inference_mode():
        prediction = colorizer(lightness)
        expected = colorizer.calibration(raw, prediction.expected_error, lightness)
    torch.testing.assert_close(colorizer.predict(lightness), expected)
    assert (expected - raw).abs().max() > 1
