from pathlib import Path

import pytest

from service.network.backbones import BackboneName
from training.errors import RecipeError
from training.fit.recipe import RECIPES, LossName, Recipe

NAMES = sorted(file.relative_to(RECIPES).with_suffix("").as_posix() for file in RECIPES.rglob("*.toml"))


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_loads(name: str) -> None:
    assert Recipe.load(name).photographs > 0


def test_there_is_a_recipe_for_every_loss() -> None:
    assert {Recipe.load(name).loss for name in NAMES} == set(LossName)


def test_the_reference_recipe_is_the_published_network() -> None:
    network = Recipe.load("mse").network(BackboneName.MOBILENET_V2)
    assert (network.fusion_strides, network.hints, network.confidence) == ((32,), False, False)
    second = Recipe(fusion_strides=(32, 16), hint_share=0.5, confidence=True).network(BackboneName.RESNET101)
    assert (second.backbone, second.fusion_strides, second.hints, second.confidence) == (
        BackboneName.RESNET101,
        (32, 16),
        True,
        True,
    )


def test_crops_grow_between_batches_as_the_run_goes_on() -> None:
    recipe = Recipe.model_validate(
        {"photographs": 100, "batch_size": 8, "crop_sizes": [{"until": 0.5, "side": 128}, {"side": 224}]}
    )
    sides = [recipe.crop_side(position) for position in (0, 49, 55, 56, 99, 1000)]
    assert sides == [128, 128, 128, 224, 224, 224]


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
        ("crop_sizes = [{ side = 100 }]", "crop_sizes.0.side"),
        ("crop_sizes = [{ side = 256 }]", "crop_sizes.0.side"),
        ("crop_sizes = []", "crop_sizes"),
        ("face_weight = 0", "face_weight"),
        ("fusion_strides = [16]", "fusion_strides"),
        ('loss = "perceptual"', "frozen_layers"),
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
