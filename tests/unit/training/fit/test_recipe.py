from pathlib import Path

import pytest

from training.errors import RecipeError
from training.recipe import RECIPES, LossName, Recipe


@pytest.mark.parametrize("name", sorted(file.stem for file in RECIPES.glob("*.toml")))
def test_every_recipe_loads(name: str) -> None:
    assert Recipe.load(name).photographs > 0


def test_there_is_a_recipe_for_every_loss() -> None:
    assert {Recipe.load(file.stem).loss for file in RECIPES.glob("*.toml")} == set(LossName)


def test_a_recipe_can_be_any_file_and_be_given_other_photographs(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('loss = "moments"\nphotographs = 300\n')
    assert Recipe.load(str(file)) == Recipe(loss=LossName.MOMENTS, photographs=300)
    assert Recipe.load(str(file), photographs=400).photographs == 400


def test_an_unknown_recipe_is_told_the_known_ones() -> None:
    with pytest.raises(RecipeError, match=r"no recipe .*magic\.toml.* moments, mse"):
        Recipe.load("magic")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("sorcery = 1", "sorcery"),
        ('loss = "guess"', "loss"),
        ("batch_size = 0", "batch_size"),
        ("crop_size = 100", "crop_size"),
        ("crop_size = 256", "crop_size"),
        ("film_share = 1.5", "film_share"),
        ("loss = ", "Invalid value"),
    ],
)
def test_a_mistake_names_the_file_and_the_key_in_one_line(text: str, complaint: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(RecipeError) as caught:
        Recipe.load(str(file))
    assert str(file) in str(caught.value)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(RecipeError, match=str(file)):
        Recipe.load(str(file))


def test_the_weights_are_averaged_over_a_share_of_the_run() -> None:
    assert Recipe(photographs=16_000, batch_size=16, ema_share=0.1).ema_decay == pytest.approx(0.99)
    assert Recipe(photographs=16, batch_size=16, ema_share=0.1).ema_decay == 0
