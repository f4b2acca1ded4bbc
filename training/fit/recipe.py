"""What distinguishes one training run from another: a small TOML file in training/recipes/ for every recipe."""

import tomllib
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.network.preprocessing import INPUT_SIZE
from training.errors import RecipeError

RECIPES = Path(__file__).parent / "recipes"


class LossName(StrEnum):
    """What is minimised; training.losses says how."""

    MSE = "mse"
    SMOOTH_L1 = "smooth_l1"
    RARITY = "rarity"
    MOMENTS = "moments"
    CLASSIFICATION = "classification"


Rate = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class Recipe(BaseModel):
    """The hyperparameters of one run; stored with its checkpoints and in the model's config."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    loss: LossName = LossName.MSE
    photographs: Annotated[int, Field(gt=0)] = 100_000
    """Crops the run sees in all; the learning rate's schedule ends there."""
    batch_size: Annotated[int, Field(gt=0)] = 16
    """Crops a step, over all processes."""
    learning_rate: Rate = 8e-4
    # The trunk already knows ImageNet; it is bent, not broken. At 0 it is frozen.
    backbone_learning_rate: Rate = 8e-5
    weight_decay: Rate = 1e-2
    warm_up: Share = 0.03
    """Share of the run."""
    clip_norm: Rate = 1.0
    ema_share: Annotated[float, Field(gt=0, le=1)] = 0.05
    """Over which share of the run the weights are averaged."""
    crop_size: Annotated[int, Field(ge=32, le=INPUT_SIZE, multiple_of=32)] = INPUT_SIZE
    """Side of the window of every crop that is learned from, in pixels. The network is fully convolutional: a step on a
    smaller window costs less by the square of its side and shows the same textures, though less of the scene. At 128 a
    photograph costs a third, which on a CPU can be worth more than the scene."""
    validate_every: Annotated[int, Field(gt=0)] = 10_000
    """Photographs seen between two validations; there is always one at the end."""
    patience: Annotated[int, Field(ge=0)] = 0
    """Validations without a new best after which the run ends, with the weights of the best; 0: never. The cosine makes
    its best progress at its end, so stopping early is rarely what one wants."""
    film_share: Share = 0.0
    """Share of the crops whose lightness is what old film would have recorded."""

    @property
    def ema_decay(self) -> float:
        """Of the exponential moving average, a step."""
        steps = self.photographs / self.batch_size
        return 1 - 1 / max(1.0, self.ema_share * steps)

    @classmethod
    def load(cls, name: str, photographs: int | None = None) -> "Recipe":
        """Reads the recipe of that name in training/recipes/, or the TOML file at that path.

        `photographs`: in place of the recipe's own.

        Raises:
            RecipeError: There is none, or it says something a recipe cannot say.
        """
        file = Path(name) if name.endswith(".toml") else RECIPES / f"{name}.toml"
        changes = {} if photographs is None else {"photographs": photographs}
        try:
            return cls.model_validate(tomllib.loads(file.read_text()) | changes)
        except FileNotFoundError:
            known = ", ".join(sorted(path.stem for path in RECIPES.glob("*.toml")))
            raise RecipeError(f"no recipe {file}: give a TOML file, or one of {known}") from None
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
            raise RecipeError(f"{file}: {wrong}") from error
        except (OSError, ValueError) as error:
            raise RecipeError(f"{file}: {error}") from error
