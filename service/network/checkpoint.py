"""A trained colorizer on disk: one folder of the model store, verified byte by byte when it is loaded.

CheckpointError
├── MissingCheckpointError   the folder holds no model: others may still serve
└── InvalidCheckpointError   it holds one that is corrupt, truncated or does not fit: nothing may start
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from service.network.backbones import BackboneName
from service.network.chroma import ChromaMap
from service.network.colorizer import Colorizer, ColorizerConfig

SHARD_BYTES = 48_000_000
"""No weight file is larger: hosts of git repositories refuse large ones."""

CONFIG_FILE = "config.json"
METRICS_FILE = "metrics.json"

_CALIBRATION = "calibration."
"""What the names of a `ChromaMap`'s tensors begin with."""

_CHROMA_FILE = "chroma-{digest}.safetensors"
"""A shard of its own for the `ChromaMap`, so that a model is calibrated without its weights being written again; named
by its content, so that no moment of writing another one leaves a model that cannot be loaded."""

_NETWORK = TypeAdapter(ColorizerConfig)


class CheckpointError(Exception):
    """A model cannot be loaded; the message names the file."""


class MissingCheckpointError(CheckpointError):
    """The model store has no such model."""


class InvalidCheckpointError(CheckpointError):
    """A file of the model is corrupt, truncated or does not fit the network."""


class WeightFile(BaseModel):
    """One shard and what it must hash to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # A plain name: a config can never point outside its own folder.
    file: Annotated[str, Field(pattern=r"^[\w-]+\.safetensors$")]
    size: int
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class CheckpointConfig(BaseModel):
    """The contents of config.json."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: str
    network: ColorizerConfig
    weights: Annotated[list[WeightFile], Field(min_length=1)]
    training: dict[str, Any]
    """Where the weights come from: recipe, photographs seen, minutes, date."""

    @property
    def tag(self) -> str:
        """Version and the beginning of the digest: enough to tell two models apart."""
        return f"{self.version}+{self.short_digest}"

    @property
    def short_digest(self) -> str:
        """The first twelve digits of the digest, for labels and headers."""
        return self.digest[:12]

    @property
    def digest(self) -> str:
        """SHA-256 over the network's configuration and the shards' own digests: names what gives these very answers."""
        network = _NETWORK.dump_json(self.network, exclude_defaults=True).decode()
        return hashlib.sha256("".join((network, *(shard.sha256 for shard in self.weights))).encode()).hexdigest()


@dataclass(frozen=True)
class Checkpoint:
    """A colorizer with its weights, and what is known about it."""

    config: CheckpointConfig
    colorizer: Colorizer
    metrics: dict[str, Any]
    """What `python -m training evaluate` measured; empty where it was never run."""

    @classmethod
    def load(cls, folder: Path, backbone: BackboneName | None = None) -> "Checkpoint":
        """Reads and verifies a model folder; the colorizer comes in float32, in evaluation mode, on the CPU.

        `backbone`: what the model must have been made for; None: whatever it was.

        Raises:
            MissingCheckpointError: There is no model in the folder.
            InvalidCheckpointError: A file is missing, altered, or not what the network needs.
        """
        config = _read_config(folder, backbone)
        try:
            colorizer = Colorizer(config.network).eval()
        except (RuntimeError, ValueError) as error:
            raise InvalidCheckpointError(f"{folder / CONFIG_FILE}: no network can be built of it: {error}") from error
        expected = _stored_tensors(colorizer)
        missing = set(expected)
        for shard in config.weights:
            file = folder / shard.file
            for name, tensor in _read_shard(file, shard).items():
                if name not in expected or tensor.shape != expected[name].shape:
                    raise InvalidCheckpointError(
                        f"{file}: tensor {name!r} {tuple(tensor.shape)} is none of this network's"
                    )
                expected[name].copy_(tensor)
                missing.discard(name)
        if missing:
            raise InvalidCheckpointError(f"{folder}: {len(missing)} tensors missing, {min(missing)!r} among them")
        return cls(config, colorizer, _read_metrics(folder / METRICS_FILE, config.digest))


def save_checkpoint(colorizer: Colorizer, folder: Path, version: str, training: dict[str, Any]) -> CheckpointConfig:
    """Writes a colorizer's weights as fp16 safetensors in shards, with the config.json that vouches for them."""
    folder.mkdir(parents=True, exist_ok=True)
    # Figures and shards of other weights would speak for these.
    for stale in (folder / METRICS_FILE, *folder.glob("*.safetensors")):
        stale.unlink(missing_ok=True)
    stored = _stored_tensors(colorizer)
    shards = list(_shards({name: tensor for name, tensor in stored.items() if not name.startswith(_CALIBRATION)}))
    weights = []
    for number, tensors in enumerate(shards, start=1):
        name = "model.safetensors" if len(shards) == 1 else f"model-{number:05}-of-{len(shards):05}.safetensors"
        weights.append(_write_shard(folder / name, _to_bytes(tensors)))
    config = CheckpointConfig(version=version, network=colorizer.config, weights=weights, training=training)
    if isinstance(colorizer.calibration, ChromaMap):
        config = _calibrated(config, colorizer.calibration, folder)
    return _write_config(config, folder)


def save_calibration(
    checkpoint: Checkpoint, folder: Path, chroma_map: ChromaMap, provenance: dict[str, Any]
) -> CheckpointConfig:
    """Writes a map into the folder of the checkpoint, in place of any calibration before; metrics.json is removed.

    `provenance`: what it was fitted to, for config.json's `training`.
    """
    # Figures of another calibration would speak for this one.
    (folder / METRICS_FILE).unlink(missing_ok=True)
    training = checkpoint.config.training | {"calibration": provenance}
    config = _calibrated(checkpoint.config.model_copy(update={"training": training}), chroma_map, folder)
    _write_config(config, folder)
    for stale in set(folder.glob(_CHROMA_FILE.format(digest="*"))) - {folder / shard.file for shard in config.weights}:
        stale.unlink()
    return config


def _calibrated(config: CheckpointConfig, chroma_map: ChromaMap, folder: Path) -> CheckpointConfig:
    """Writes the map's shard; returns the config that names it."""
    tensors = chroma_map.state_dict(prefix=_CALIBRATION)
    data = _to_bytes(tensors)
    digest = hashlib.sha256(data).hexdigest()
    shard = _write_shard(folder / _CHROMA_FILE.format(digest=digest[:12]), data)
    weights = [other for other in config.weights if not fnmatch(other.file, _CHROMA_FILE.format(digest="*"))]
    network = replace(config.network, calibrated=True)
    return config.model_copy(update={"network": network, "weights": [*weights, shard]})


def _to_bytes(tensors: dict[str, Tensor]) -> bytes:
    return save({name: tensor.to("cpu", torch.float16).contiguous() for name, tensor in tensors.items()})


def _write_shard(file: Path, data: bytes) -> WeightFile:
    file.write_bytes(data)
    return WeightFile(file=file.name, size=len(data), sha256=hashlib.sha256(data).hexdigest())


def _write_config(config: CheckpointConfig, folder: Path) -> CheckpointConfig:
    partial = folder / f"{CONFIG_FILE}.partial"
    partial.write_text(config.model_dump_json(indent=2) + "\n")
    partial.replace(folder / CONFIG_FILE)
    return config


def _stored_tensors(colorizer: Colorizer) -> dict[str, Tensor]:
    """The tensors a checkpoint holds; batch norm's step counters are of no use after training."""
    return {name: tensor for name, tensor in colorizer.state_dict().items() if tensor.is_floating_point()}


def _shards(tensors: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    shard: dict[str, Tensor] = {}
    size = 0
    for name, tensor in tensors.items():
        size_in_half = 2 * tensor.numel()
        # A tenth is left for the file's header.
        if shard and size + size_in_half > 0.9 * SHARD_BYTES:
            yield shard
            shard, size = {}, 0
        shard[name] = tensor
        size += size_in_half
    yield shard


def _read_config(folder: Path, backbone: BackboneName | None) -> CheckpointConfig:
    file = folder / CONFIG_FILE
    try:
        config = CheckpointConfig.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        if any(folder.glob("*.safetensors")):
            raise InvalidCheckpointError(f"{file}: does not exist, though there are weights beside it") from None
        name = backbone or folder.name
        raise MissingCheckpointError(
            f"no weights for {name}: {file} does not exist. Train them with "
            f"`python -m training fit --backbone {name}`, or copy a trained model's folder to {folder}."
        ) from None
    except (OSError, ValidationError) as error:
        raise InvalidCheckpointError(f"{file}: {error}") from error
    if backbone is not None and config.network.backbone is not backbone:
        raise InvalidCheckpointError(f"{file}: is for {config.network.backbone}, not for {backbone}")
    return config


def _read_shard(file: Path, shard: WeightFile) -> dict[str, Tensor]:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise InvalidCheckpointError(f"{file}: {error.strerror}") from error
    if len(data) != shard.size:
        raise InvalidCheckpointError(f"{file}: {len(data)} bytes, but {CONFIG_FILE} says {shard.size}")
    if (digest := hashlib.sha256(data).hexdigest()) != shard.sha256:
        raise InvalidCheckpointError(f"{file}: SHA-256 is {digest}, but {CONFIG_FILE} says {shard.sha256}")
    try:
        return load(data)
    except SafetensorError as error:
        raise InvalidCheckpointError(f"{file}: not a safetensors file: {error}") from error


def _read_metrics(file: Path, digest: str) -> dict[str, Any]:
    try:
        metrics = json.loads(file.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InvalidCheckpointError(f"{file}: {error}") from error
    if not isinstance(metrics, dict):
        raise InvalidCheckpointError(f"{file}: not a JSON object")
    if metrics.get("digest") != digest:
        raise InvalidCheckpointError(f"{file}: measured with other weights than {digest}")
    return metrics
