"""Everything an operator can set, from environment variables with the prefix AUTOCHROME_."""

import os
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.cores import count_cores

MAX_PIXELS_LIMIT = 300_000_000
"""The same in service.imaging.reading.pillow."""

BYTES_BESIDE_PIXELS = 8 * 2**20
"""Of a photograph in work, whatever its size: the same in service.imaging.writing.answer."""

LEAST_BYTES_PER_PIXEL = 10
"""Of a photograph in work: L*, and the answer as PNG. Others take more; what is too large for them is refused."""

Backbone = Literal["mobilenet_v2", "resnet101"]
Choice = Literal[Backbone, "blend"]
"""What a request may name: a backbone, or the blend of all of them."""


def _split(value: object) -> object:
    """`a,b` from the environment → a list."""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


_PREFIX = "AUTOCHROME_"


class Settings(BaseSettings):
    """The service's settings; a value out of range stops start-up with a message that names it.

    An empty variable counts as not set, as is the habit of compose and env files; but an empty key is refused.
    """

    model_config = SettingsConfigDict(env_prefix=_PREFIX, env_ignore_empty=True, frozen=True, allow_inf_nan=False)

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    backbones: Annotated[tuple[Backbone, ...], NoDecode, BeforeValidator(_split), Field(min_length=1)] = (
        "mobilenet_v2",
        "resnet101",
    )
    """Which backbones to load, separated by commas; one without weights is reported, not fatal, if another has some."""
    default_backbone: Choice = "mobilenet_v2"
    device: Literal["auto", "cuda", "cpu"] = "auto"
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Arithmetic of the network; auto is the fastest that the device computes in natively."""
    model_store: Path = Path("model_store")

    max_batch_size: Annotated[int, Field(ge=1, le=256)] = 8
    max_wait_ms: Annotated[float, Field(ge=0, le=10_000)] = 0
    """On a GPU: how long the oldest entry may wait for company while the device is idle."""
    max_queue_wait_s: Annotated[float, Field(gt=0)] = 10
    """A request whose predicted wait is longer, or longer than half of request_timeout_s, is refused with 429."""
    request_timeout_s: Annotated[float, Field(gt=0)] = 30
    """Deadline of a request, from the last byte of its body to the last byte of its answer."""
    upload_timeout_s: Annotated[float, Field(gt=0)] = 60
    """Deadline of its body."""
    stall_s: Annotated[float, Field(gt=0)] = 60
    """Work pending and none finished for this long: not live."""
    max_upload_bytes: Annotated[int, Field(ge=1)] = 256 * 2**20
    max_pixels: Annotated[int, Field(ge=1, le=MAX_PIXELS_LIMIT)] = 150_000_000
    """Of a photograph; how large it may be beside depends on what it takes in work: see max_bytes_held."""
    max_bytes_held: Annotated[int, Field(ge=1)] = 2_700_000_000
    """Uploads, decoded photographs and answers of all requests together; what goes beyond is refused with 429."""
    lanes: Annotated[int, Field(ge=1, le=256)] = Field(default_factory=count_cores)
    """Threads that decode, compute (on a CPU), recompose and encode; one for each core by default."""
    max_connections: Annotated[int, Field(ge=1)] = 1000
    """A connection above that is answered with 503 and closed."""
    keep_alive_s: Annotated[float, Field(gt=0)] = 65
    """How long an idle connection is kept: longer than proxies keep theirs, or they would send into a closed one."""
    write_timeout_s: Annotated[float, Field(gt=0)] = 60
    """A client that has not taken what was sent to it for so long is dropped."""
    drain_s: Annotated[float, Field(ge=0)] = 5
    """After SIGTERM the service stays this long without readiness but serving, until routers have noticed."""

    api_key: SecretStr | None = None
    """If set, POST /colorize wants it as `Authorization: Bearer …`."""
    log_format: Literal["json", "text"] = "json"

    @model_validator(mode="before")
    @classmethod
    def _environment_is_understood(cls, values: Any) -> Any:
        """Refuses variables that would be ignored: a misspelt one, and an empty key, which would let everybody in."""
        names = {f"{_PREFIX}{field.upper()}" for field in cls.model_fields}
        for variable in os.environ:
            if variable.upper().startswith(_PREFIX) and variable.upper() not in names:
                nearest = get_close_matches(variable.upper(), names, 1)
                hint = f"; did you mean {nearest[0]}?" if nearest else ""
                raise ValueError(f"there is no setting {variable}{hint}")
        if os.environ.get(f"{_PREFIX}API_KEY") == "":
            raise ValueError(f"{_PREFIX}API_KEY is empty, which would let everybody in: give a key, or unset it")
        return values

    @model_validator(mode="after")
    def _settings_agree(self) -> "Settings":
        if self.max_bytes_held < (
            largest := LEAST_BYTES_PER_PIXEL * self.max_pixels + BYTES_BESIDE_PIXELS + self.max_upload_bytes
        ):
            raise ValueError(
                f"max_bytes_held {self.max_bytes_held} is less than the {largest} that the largest photograph needs: "
                f"{LEAST_BYTES_PER_PIXEL} for each of max_pixels, {BYTES_BESIDE_PIXELS}, and max_upload_bytes"
            )
        if len(set(self.backbones)) < len(self.backbones):
            raise ValueError(f"backbones {self.backbones} names one twice")
        if self.default_backbone == "blend":
            if lacking := sorted(set(get_args(Backbone)) - set(self.backbones)):
                raise ValueError(f"default_backbone 'blend' needs {', '.join(lacking)} among backbones, too")
        elif self.default_backbone not in self.backbones:
            raise ValueError(f"default_backbone {self.default_backbone!r} is not among backbones {self.backbones}")
        return self


def describe_settings() -> str:
    """Every variable with its default, as lines for a terminal."""
    lines = ["Settings are environment variables (README.md says more of them):"]
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True)
        shown = ",".join(default) if isinstance(default, tuple) else "" if default is None else default
        lines.append(f"  {_PREFIX}{name.upper()}={shown}")
    return "\n".join(lines)
