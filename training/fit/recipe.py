"""What distinguishes one training run from another: a small TOML file in training/recipes/ for every recipe."""

import tomllib
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from service.network.backbones import BackboneName
from service.network.colorizer import ColorizerConfig
from service.network.preprocessing import INPUT_SIZE
from training.errors import RecipeError

PERCEPTUAL_LAYERS = 7
"""So many of the trunk's first children compare pictures in the perceptual loss."""

RECIPES = Path(__file__).parent.parent / "recipes"


class LossName(StrEnum):
    """What is minimised; training.fit.losses says how."""

    MSE = "mse"
    SMOOTH_L1 = "smooth_l1"
    RARITY = "rarity"
    MOMENTS = "moments"
    DISTANCE = "distance"
    DISTANCE_MOMENTS = "distance_moments"
    DISTANCE_CHROMA = "distance_chroma"
    PERCEPTUAL = "perceptual"
    CLASSIFICATION = "classification"


Rate = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class CropSize(BaseModel):
    """The side of the crops during a part of the run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    until: Share = 1.0
    """Share of the run."""
    side: Annotated[int, Field(ge=32, le=INPUT_SIZE, multiple_of=32)] = INPUT_SIZE
    """Pixels."""


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
    crop_sizes: Annotated[tuple[CropSize, ...], Field(min_length=1)] = (CropSize(),)
    """Sides of the crops, one after another, the last until the end. The network is fully convolutional: a smaller crop
    costs less by the square of its side, and teaches the same textures, though less of the scene."""
    fusion_strides: tuple[int, ...] = (32,)
    """`ColorizerConfig.fusion_strides` of a run that begins with an ImageNet trunk."""
    confidence: bool = False
    """Whether such a run's network says how far off its colours will be."""
    hint_share: Share = 0.0
    """Share of the crops that come with hints; above 0 the network of such a run takes them."""
    frozen_layers: Annotated[int, Field(ge=0)] = 0
    """So many of the trunk's first children stay as they are: they see edges and textures, which grey pictures have,
    and as they work at the largest sizes they are half of what learning costs the trunk."""
    face_weight: Annotated[float, Field(gt=0)] = 1.0
    """How often a photograph in which faces were found (`training.photos.faces`) is drawn, where others are once."""
    weights: dict[str, Annotated[float, Field(gt=0)]] = {}
    """How often photographs are drawn whose names begin so, where others are once; multiplied with `face_weight`."""
    validate_every: Annotated[int, Field(gt=0)] = 10_000
    """Photographs seen between two validations; there is always one at the end."""
    patience: Annotated[int, Field(ge=0)] = 0
    """Validations without a new best after which the run ends, with the weights of the best; 0: never. The cosine makes
    its best progress at its end, so stopping early is rarely what one wants."""
    film_share: Share = 0.0
    """Share of the crops whose lightness is what old film would have recorded."""

    @field_validator("fusion_strides")
    @classmethod
    def _can_be_fused(cls, strides: tuple[int, ...]) -> tuple[int, ...]:
        ColorizerConfig(BackboneName.MOBILENET_V2, fusion_strides=strides)
        return strides

    @model_validator(mode="after")
    def _sees_with_frozen_layers(self) -> Self:
        learning = self.backbone_learning_rate > 0 and self.frozen_layers < PERCEPTUAL_LAYERS
        if self.loss is LossName.PERCEPTUAL and learning:
            raise ValueError(f"loss = perceptual needs frozen_layers of {PERCEPTUAL_LAYERS} or more")
        return self

    @property
    def ema_decay(self) -> float:
        """Of the exponential moving average, a step."""
        steps = self.photographs / self.batch_size
        return 1 - 1 / max(1.0, self.ema_share * steps)

    def network(self, backbone: BackboneName) -> ColorizerConfig:
        """The network that a run begins with."""
        return ColorizerConfig(
            backbone,
            fusion_strides=self.fusion_strides,
            hints=self.hint_share > 0,
            confidence=self.confidence,
        )

    def crop_side(self, position: int) -> int:
        """Of the crop at that position of the stream, in pixels; the same for all of a batch."""
        progress = (position - position % self.batch_size) / self.photographs
        return next((size.side for size in self.crop_sizes if progress < size.until), self.crop_sizes[-1].side)

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
