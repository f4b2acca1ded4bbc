import pytest
import torch

from service.imaging import color
from training.measure.scores import ColorFrequencies, Scoreboard, Scores


@pytest.fixture(scope="module")
def truth() -> torch.Tensor:
    """Four pictures, nine tenths grey and a tenth red."""
    rgb = torch.full((4, 3, 10, 10), 128, dtype=torch.uint8)
    rgb[..., 0] = torch.tensor([200, 40, 40], dtype=torch.uint8)[:, None]
    return rgb


@pytest.fixture(scope="module")
def frequencies(truth: torch.Tensor) -> ColorFrequencies:
    counted = ColorFrequencies()
    for picture in truth.split(1):
        counted.add(color.rgb_to_lab(picture / 255)[:, 1:])
    return counted


@pytest.fixture(scope="module")
def scores(truth: torch.Tensor, frequencies: ColorFrequencies) -> Scores:
    """Of the grey answer, which is right on all but the red."""
    board = Scoreboard(4, frequencies.weights(), None)
    for batch in truth.split(3):
        board.add_truth(batch)
        board.add("grey", torch.zeros(len(batch), 2, 10, 10), torch.full_like(batch, 128), batch)
    return board.scores()


def test_rare_colours_weigh_as_much_as_common_ones(
    scores: Scores, truth: torch.Tensor, frequencies: ColorFrequencies
) -> None:
    # Of the red; what float rounding leaves of chroma in grey is below a hundredth.
    error = color.rgb_to_lab(truth / 255)[0, 1:, 0, 0].norm().item()
    assert scores["grey"]["auc"]["value"] == pytest.approx(1 - 0.1 * error / 150, abs=1e-4)
    assert scores["grey"]["auc_rebalanced"]["value"] == pytest.approx(1 - 0.5 * error / 150, abs=1e-4)
    weights = frequencies.weights()
    assert weights[weights > 0].tolist() == pytest.approx([1 / 0.9 / 2, 1 / 0.1 / 2])


def test_the_percentile_is_over_all_pixels(scores: Scores) -> None:
    difference = scores["grey"]["ciede2000"]["value"] / 0.1  # of the red ones; more than a twentieth of all
    assert scores["grey"]["ciede2000_p95"]["value"] == pytest.approx(difference, abs=0.05)


def test_pictures_of_one_kind_leave_no_doubt(scores: Scores) -> None:
    assert scores["grey"]["mse"]["low"] == pytest.approx(scores["grey"]["mse"]["high"])
