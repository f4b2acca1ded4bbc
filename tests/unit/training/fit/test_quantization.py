import pytest
import torch

from service.network.colorizer import Colorizer
from tests.unit.training.tiny import TINY
from training.fit.quantization import BIN, QuantizedColorizer, Rarity, color_histogram, in_gamut_bins


@pytest.fixture(scope="module")
def colorizer() -> QuantizedColorizer:
    torch.manual_seed(0)
    return QuantizedColorizer(TINY).eval()


def test_the_bins_are_those_srgb_reaches() -> None:
    bins = in_gamut_bins()
    assert 200 < len(bins) < 330  # Zhang et al.: 313
    assert len(set(map(tuple, bins.tolist()))) == len(bins)
    for corner in ([80.1, 67.2], [-86.2, 83.2], [79.2, -107.9], [0, 0]):  # red, green, blue, grey
        assert ((bins - torch.tensor(corner)).abs() <= BIN / 2).all(dim=1).any()


def test_a_histogram_counts_every_pixel_once() -> None:
    histogram = color_histogram(torch.rand(3, 2, 5, 7) * 4 - 2)  # beyond the grid as well
    assert histogram.sum() == 3 * 5 * 7
    assert (color_histogram(torch.full((1, 2, 4, 4), 0.3)) == 16).sum() == 1


def test_rarity_is_one_on_average_and_more_for_rarer_colours() -> None:
    generator = torch.Generator().manual_seed(0)
    photos = torch.randn(8, 2, 64, 64, generator=generator) * 0.15
    rarity = Rarity(color_histogram(photos))
    assert rarity(photos).mean().item() == pytest.approx(1, rel=1e-5)
    greyish, vivid = (rarity(torch.full((1, 2, 1, 1), level)).item() for level in (0.0, 0.5))
    assert greyish < 1 < vivid


def test_a_certain_answer_is_the_bin_itself(colorizer: QuantizedColorizer) -> None:
    logits = torch.full((1, len(colorizer.bins), 4, 4), -50.0)
    logits[:, 17] = 50
    answer = colorizer.annealed_mean(logits)
    assert answer.shape == (1, 2, 16, 16)
    assert torch.allclose(answer * 128, colorizer.bins[17].view(1, 2, 1, 1).expand(1, 2, 16, 16), atol=1e-3)


def test_an_undecided_answer_leans_to_the_likelier_bin(colorizer: QuantizedColorizer) -> None:
    logits = torch.full((1, len(colorizer.bins), 1, 1), -50.0)
    logits[:, 3], logits[:, 200] = torch.tensor(0.6).log(), torch.tensor(0.4).log()
    answer = colorizer.annealed_mean(logits)[0, :, 0, 0] * 128
    share = 0.6 ** (1 / 0.38) / (0.6 ** (1 / 0.38) + 0.4 ** (1 / 0.38))
    assert torch.allclose(answer, share * colorizer.bins[3] + (1 - share) * colorizer.bins[200], atol=1e-3)


def test_the_softly_encoded_truth_is_the_best_answer(colorizer: QuantizedColorizer) -> None:
    even = Rarity(torch.ones(24 * 24, dtype=torch.float64))
    color = torch.tensor([21.0, 33.0])
    target = (color / 128).view(1, 2, 1, 1).expand(1, 2, 8, 8)
    distances, nearest = (colorizer.bins - color).norm(dim=1).sort()
    shares = torch.exp(-distances[:5].square() / 50)
    shares /= shares.sum()
    logits = torch.full((1, len(colorizer.bins), 2, 2), -30.0)
    logits[0, nearest[:5]] = shares.log().view(5, 1, 1)
    weight = even(target).mean()
    entropy = -(shares * shares.log()).sum() * weight
    best = colorizer.classification_loss(logits, target, even)
    assert best.item() == pytest.approx(entropy.item(), rel=1e-3)
    for change in (1.0, -1.0):
        worse = logits.clone()
        worse[0, nearest[0]] += change
        assert colorizer.classification_loss(worse, target, even) > best


def test_it_answers_like_every_colorizer_and_learns_from_logits(colorizer: QuantizedColorizer) -> None:
    lightness = torch.rand(2, 1, 224, 224) * 100
    assert isinstance(colorizer, Colorizer)
    assert colorizer.predict(lightness).shape == (2, 2, 224, 224)
    logits = QuantizedColorizer(TINY).train()(lightness).ab
    assert logits.shape == (2, len(colorizer.bins), 56, 56)
