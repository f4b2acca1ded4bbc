import torch
from torch import Tensor

from training.fit.hints import LARGEST_PATCH, MEAN_PATCHES, simulate_hints


def truth(count: int) -> Tensor:
    return torch.rand(count, 2, 64, 96, generator=torch.Generator().manual_seed(0)) - 0.5


def test_hints_say_the_true_colours_and_nothing_elsewhere() -> None:
    target = torch.tensor([0.25, -0.5]).view(1, 2, 1, 1).expand(20, 2, 64, 96)
    hints = simulate_hints(target, 1.0, seed=0)
    ab, where = hints[:, :2], hints[:, 2:]
    assert set(where.unique().tolist()) == {0, 1}
    torch.testing.assert_close(ab, target * where)


def test_a_square_has_the_mean_colour_under_it() -> None:
    target = truth(200)
    hints = simulate_hints(target, 1.0, seed=1)
    alone = [index for index in range(200) if 1 < hints[index, 2].sum() <= LARGEST_PATCH**2]
    checked = 0
    for index in alone:
        rows, columns = hints[index, 2].nonzero(as_tuple=True)
        box = (..., slice(int(rows.min()), int(rows.max()) + 1), slice(int(columns.min()), int(columns.max()) + 1))
        if hints[index, 2][box[1:]].all():  # a single square
            means = target[index][box].mean(dim=(1, 2))
            torch.testing.assert_close(hints[index, :2, rows[0], columns[0]], means)
            checked += 1
    assert checked > 5


def test_share_and_number_are_those_asked_for() -> None:
    hints = simulate_hints(torch.zeros(600, 2, 96, 96), 0.5, seed=2)
    pixels = hints[:, 2].sum(dim=(1, 2))
    assert 250 < (pixels > 0).sum() < 350
    # The mean square has (1² + … + 9²)/9 = 31.7 pixels; some overlap.
    assert 0.7 * MEAN_PATCHES * 31.7 < pixels[pixels > 0].mean() < 1.1 * MEAN_PATCHES * 31.7
    assert not simulate_hints(truth(4), 0.0, seed=0).any()


def test_a_seed_gives_the_same_hints() -> None:
    assert torch.equal(simulate_hints(truth(4), 0.5, 7), simulate_hints(truth(4), 0.5, 7))
    assert not torch.equal(simulate_hints(truth(4), 1.0, 7), simulate_hints(truth(4), 1.0, 8))
