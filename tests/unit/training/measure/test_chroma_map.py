from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from service.imaging import color
from service.network.colorizer import Colorizer
from service.network.decoder import Prediction
from service.network.preprocessing import AB_SCALE
from training.measure import metrics
from training.measure.chroma_map import MAX_SHIFT, fit_chroma_map
from training.measure.power_law import PowerLaw
from training.measure.predictions import Predictions
from training.photos.sets import open_photos

DARK, BRIGHT = 30.0, 70.0  # L*


@dataclass
class Painter:
    """A network that answers dark pixels and bright ones each with one colour, and says how far off it may be."""

    answers: dict[float, tuple[tuple[float, float], float]] = field(default_factory=dict)
    """a* and b*, and the expected error, by lightness."""

    def __call__(self, lightness: Tensor) -> Prediction:
        (dark, dark_error), (bright, bright_error) = self.answers[DARK], self.answers[BRIGHT]
        is_dark = lightness < (DARK + BRIGHT) / 2
        ab = torch.where(is_dark, torch.tensor(dark)[:, None, None], torch.tensor(bright)[:, None, None])
        return Prediction(ab / AB_SCALE, (torch.where(is_dark, dark_error, bright_error) / AB_SCALE).log())


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Dark halves are always red, bright ones blue in one photograph and as yellow in the other."""
    for name, ab in (("blue", (0.0, -25.0)), ("yellow", (0.0, 25.0))):
        halves = [torch.tensor([DARK, 40.0, 0.0]), torch.tensor([BRIGHT, *ab])]
        lab = torch.stack([half.expand(256, 128, 3) for half in halves], dim=1).reshape(256, 256, 3)
        rgb = color.lab_to_rgb(lab.permute(2, 0, 1)[None])[0].permute(1, 2, 0)
        Image.fromarray((rgb.clamp(0, 1) * 255).round().numpy().astype(np.uint8)).save(tmp_path / f"{name}.png")
    return tmp_path


def predicted(painter: Painter, photos: Path) -> Predictions:
    return Predictions(cast(Colorizer, painter), open_photos(photos))


def fitted(painter: Painter, photos: Path, ratio: float) -> list[float]:
    """How the map changes the dark and the bright answer: factors of chroma."""
    chroma_map = fit_chroma_map(predicted(painter, photos), ratio)
    factors = []
    for lightness, (answer, error) in painter.answers.items():
        ab, one = torch.tensor(answer)[None, :, None, None], torch.ones(1, 1, 1, 1)
        factors.append((chroma_map(ab, one * error, one * lightness).norm() / ab.norm()).item())
    return factors


def test_what_is_known_is_lifted_and_what_is_not_is_left(photos: Path) -> None:
    painter = Painter({DARK: ((20.0, 0.0), 10.0), BRIGHT: ((0.0, -10.0), 20.0)})
    known, guessed = fitted(painter, photos, 0.6)
    assert known > 1.3
    assert guessed < 1.1


def test_nothing_is_lifted_by_more_than_its_error_allows(photos: Path) -> None:
    painter = Painter({DARK: ((20.0, 0.0), 1.0), BRIGHT: ((0.0, -10.0), 20.0)})
    sure, _ = fitted(painter, photos, 0.6)
    # Of a table that is read between its columns: not to the last digit.
    assert 1 < sure <= 1 + MAX_SHIFT * 1.0 / 20.0 + 0.02


def test_nothing_is_lifted_above_what_photographs_have(photos: Path) -> None:
    painter = Painter({DARK: ((38.0, 0.0), 30.0), BRIGHT: ((0.0, -20.0), 30.0)})
    most, _ = fitted(painter, photos, 1.1)
    assert 38 * most <= 42  # photographs have 40 there, and a step of the count is 2


def test_pictures_are_as_colourful_as_asked_for(photos: Path) -> None:
    painter = Painter({DARK: ((20.0, 0.0), 10.0), BRIGHT: ((0.0, -10.0), 20.0)})
    predictions = predicted(painter, photos)
    chroma_map = fit_chroma_map(predictions, 0.6)
    pictures = torch.cat([batch.deliver(chroma_map) for batch in predictions.batches])
    assert metrics.colorfulness(pictures).mean() / predictions.true_colorfulness == pytest.approx(0.6, abs=0.05)


def test_it_errs_less_than_a_plain_gain_as_colourful(photos: Path) -> None:
    painter = Painter({DARK: ((20.0, 0.0), 10.0), BRIGHT: ((0.0, -20.0), 20.0)})
    predictions = predicted(painter, photos)
    gain = predictions.reach(lambda gain: PowerLaw(gain, 0.0), 0.9, 4.0)
    assert gain is not None
    chroma_map = fit_chroma_map(predictions, 0.9)
    assert predictions.differences(chroma_map).mean() < predictions.differences(PowerLaw(gain, 0.0)).mean()


def test_where_there_are_no_pixels_nothing_is_changed(photos: Path) -> None:
    predictions = predicted(Painter({DARK: ((20.0, 0.0), 10.0), BRIGHT: ((0.0, -10.0), 20.0)}), photos)
    gains = fit_chroma_map(predictions, 0.6).gains
    # Surer than the network ever was here: a hint would be.
    torch.testing.assert_close(gains[:, -1], torch.ones(len(gains)), atol=0.01, rtol=0)
    assert (gains[:, -2] >= 0.999).all()


def test_less_certainty_is_never_more_than_chroma_is_less(photos: Path) -> None:
    painter = Painter({DARK: ((20.0, 0.0), 30.0), BRIGHT: ((0.0, -10.0), 2.0)})
    gains = fit_chroma_map(predicted(painter, photos), 0.9).gains
    assert (gains[:, 1:] >= 0.75 * gains[:, :-1] - 1e-6).all()
