import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from service.network.backbones import BackboneName
from service.network.checkpoint import (
    SHARD_BYTES,
    Checkpoint,
    InvalidCheckpointError,
    MissingCheckpointError,
    save_calibration,
    save_checkpoint,
)
from service.network.chroma import ChromaMap
from service.network.colorizer import Colorizer
from tests.conftest import build_colorizer, randomize

MOBILENET = BackboneName.MOBILENET_V2


@pytest.fixture
def folder(model_store: Path, tmp_path: Path) -> Path:
    """A copy of a good model that a test may spoil."""
    return Path(shutil.copytree(model_store / MOBILENET, tmp_path / MOBILENET))


def edit_config(folder: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    config = json.loads((folder / "config.json").read_text())
    edit(config)
    (folder / "config.json").write_text(json.dumps(config))


def replace_weights(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Other weights, with a config that vouches for them."""
    save_file(tensors, folder / "model.safetensors")
    data = (folder / "model.safetensors").read_bytes()

    def edit(config: dict[str, Any]) -> None:
        config["weights"] = [
            {"file": "model.safetensors", "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        ]

    edit_config(folder, edit)


def assert_equal_at_half_precision(loaded: nn.Module, saved: nn.Module) -> None:
    for name, tensor in loaded.state_dict().items():
        if tensor.is_floating_point():
            assert torch.equal(tensor, saved.state_dict()[name].half().float()), name


def test_saved_and_loaded_networks_agree(folder: Path, mobilenet_colorizer: Colorizer) -> None:
    checkpoint = Checkpoint.load(folder, MOBILENET)
    assert_equal_at_half_precision(checkpoint.colorizer, mobilenet_colorizer)
    assert not checkpoint.colorizer.training
    assert checkpoint.config.version == "1.2.3"
    assert checkpoint.config.training == {"recipe": "random"}
    assert {parameter.dtype for parameter in checkpoint.colorizer.parameters()} == {torch.float32}


def test_weights_are_stored_as_fp16(folder: Path) -> None:
    assert {tensor.dtype for tensor in load_file(folder / "model.safetensors").values()} == {torch.float16}


def test_a_config_with_what_networks_no_longer_have_is_refused(folder: Path) -> None:
    """Passed over, it would be served in other colours."""
    edit_config(folder, lambda config: config["network"].update(saturation_gain=1.7))
    with pytest.raises(InvalidCheckpointError, match="saturation_gain"):
        Checkpoint.load(folder, MOBILENET)


def test_large_models_are_sharded(tmp_path: Path, resnet_colorizer: Colorizer) -> None:
    config = save_checkpoint(resnet_colorizer, tmp_path, "1.0.0", {})
    assert [shard.file for shard in config.weights] == [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ]
    assert all(shard.size <= SHARD_BYTES for shard in config.weights)
    assert_equal_at_half_precision(Checkpoint.load(tmp_path, BackboneName.RESNET101).colorizer, resnet_colorizer)


def test_digest_names_weights_and_calibration(folder: Path, tmp_path: Path, mobilenet_colorizer: Colorizer) -> None:
    config = Checkpoint.load(folder, MOBILENET).config
    again = save_checkpoint(mobilenet_colorizer, tmp_path / "again", "9.9.9", {})
    assert again.digest == config.digest
    assert len(config.digest) == 64
    # A calibration gives other pictures, so figures of this one are not that one's.
    calibrated = replace(config.network, calibrated=True)
    assert config.model_copy(update={"network": calibrated}).digest != config.digest


def test_a_calibration_is_written_beside_the_weights(folder: Path) -> None:
    checkpoint = Checkpoint.load(folder)
    written, digest = (folder / "model.safetensors").stat().st_mtime_ns, checkpoint.config.digest
    (folder / "metrics.json").write_text(json.dumps({"digest": digest}))
    chroma_map = ChromaMap()
    chroma_map.gains.mul_(1.5)
    config = save_calibration(checkpoint, folder, chroma_map, {"ratio": 0.9})
    calibrated = Checkpoint.load(folder)
    assert calibrated.config == config
    assert [shard.file for shard in config.weights][:-1] == ["model.safetensors"]
    assert config.weights[-1].file.startswith("chroma-")
    assert config.training["calibration"] == {"ratio": 0.9}
    assert (folder / "model.safetensors").stat().st_mtime_ns == written
    assert calibrated.metrics == {}
    assert config.digest != digest
    assert isinstance(calibrated.colorizer.calibration, ChromaMap)
    assert torch.equal(calibrated.colorizer.calibration.gains, chroma_map.gains)


def test_a_calibration_takes_the_place_of_another(tmp_path: Path) -> None:
    save_checkpoint(build_colorizer(MOBILENET), tmp_path, "1.0.0", {})
    first = save_calibration(Checkpoint.load(tmp_path), tmp_path, ChromaMap(), {})
    dull = ChromaMap()
    dull.gains.mul_(0.5)
    second = save_calibration(Checkpoint.load(tmp_path), tmp_path, dull, {})
    assert len(second.weights) == len(first.weights) == 2
    files = {shard.file for shard in second.weights}
    assert {path.name for path in tmp_path.iterdir()} == files | {"config.json"}
    assert second.digest != first.digest
    assert_equal_at_half_precision(Checkpoint.load(tmp_path).colorizer.calibration, dull)


def test_a_calibrated_model_is_saved_whole(tmp_path: Path) -> None:
    colorizer = build_colorizer(MOBILENET, calibrated=True)
    randomize(colorizer)
    save_checkpoint(colorizer, tmp_path, "1.0.0", {})
    assert_equal_at_half_precision(Checkpoint.load(tmp_path).colorizer, colorizer)


def test_metrics_travel_along(folder: Path) -> None:
    assert Checkpoint.load(folder, MOBILENET).metrics == {}
    metrics = {"digest": Checkpoint.load(folder).config.digest, "model": {"mse": 0.5}}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    assert Checkpoint.load(folder, MOBILENET).metrics == metrics


def test_figures_of_other_weights_are_refused(folder: Path) -> None:
    (folder / "metrics.json").write_text('{"digest": "0123", "model": {"mse": 0.5}}')
    with pytest.raises(InvalidCheckpointError, match=r"metrics\.json: measured with other weights"):
        Checkpoint.load(folder, MOBILENET)


def test_new_weights_take_old_figures_and_shards_away(folder: Path, mobilenet_colorizer: Colorizer) -> None:
    (folder / "metrics.json").write_text("{}")
    (folder / "model-00002-of-00002.safetensors").write_bytes(b"old")
    save_checkpoint(mobilenet_colorizer, folder, "2.0.0", {})
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize("content", ["{", "[]"])
def test_broken_metrics_are_an_error(folder: Path, content: str) -> None:
    (folder / "metrics.json").write_text(content)
    with pytest.raises(InvalidCheckpointError, match=r"metrics\.json"):
        Checkpoint.load(folder, MOBILENET)


def test_a_model_that_is_not_there_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(MissingCheckpointError, match="python -m training fit --backbone resnet101"):
        Checkpoint.load(tmp_path / "resnet101", BackboneName.RESNET101)


def test_weights_without_their_config_are_not_just_missing(folder: Path) -> None:
    (folder / "config.json").unlink()
    with pytest.raises(InvalidCheckpointError, match=r"config\.json: does not exist, though there are weights"):
        Checkpoint.load(folder, MOBILENET)


def test_a_network_that_cannot_be_built_names_the_config(folder: Path) -> None:
    edit_config(folder, lambda config: config["network"].update(fusion_width=-1))
    with pytest.raises(InvalidCheckpointError, match=r"config\.json: no network can be built"):
        Checkpoint.load(folder, MOBILENET)


def test_a_flipped_bit_is_found(folder: Path) -> None:
    file = folder / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(InvalidCheckpointError, match=r"model\.safetensors: SHA-256 is"):
        Checkpoint.load(folder, MOBILENET)


def test_a_truncated_file_is_found(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(InvalidCheckpointError, match=r"model\.safetensors: \d+ bytes, but config\.json says"):
        Checkpoint.load(folder, MOBILENET)


def test_a_lost_file_is_named(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(InvalidCheckpointError, match=r"model\.safetensors"):
        Checkpoint.load(folder, MOBILENET)


def test_a_pickle_is_never_read(folder: Path) -> None:
    torch.save({"a": torch.zeros(1)}, folder / "model.safetensors")
    data = (folder / "model.safetensors").read_bytes()
    edit_config(
        folder,
        lambda config: config.update(
            weights=[{"file": "model.safetensors", "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}]
        ),
    )
    with pytest.raises(InvalidCheckpointError, match=r"model\.safetensors: not a safetensors file"):
        Checkpoint.load(folder, MOBILENET)


def test_a_foreign_tensor_is_named_with_its_file(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    replace_weights(folder, tensors | {"decoder.extra": torch.zeros(1)})
    with pytest.raises(InvalidCheckpointError, match=r"model\.safetensors: tensor 'decoder\.extra'"):
        Checkpoint.load(folder, MOBILENET)


def test_a_tensor_of_another_shape_is_named(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    replace_weights(folder, tensors | {"decoder.head.bias": torch.zeros(3)})
    with pytest.raises(InvalidCheckpointError, match=r"model\.safetensors: tensor 'decoder\.head\.bias' \(3,\)"):
        Checkpoint.load(folder, MOBILENET)


def test_a_missing_tensor_is_named(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["decoder.head.bias"]
    replace_weights(folder, tensors)
    with pytest.raises(InvalidCheckpointError, match=r"1 tensors missing, 'decoder\.head\.bias'"):
        Checkpoint.load(folder, MOBILENET)


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "model.bin"])
def test_a_config_cannot_point_elsewhere(folder: Path, name: str) -> None:
    edit_config(folder, lambda config: config["weights"][0].update(file=name))
    with pytest.raises(InvalidCheckpointError, match=r"config\.json"):
        Checkpoint.load(folder, MOBILENET)


def test_a_config_of_another_backbone_is_refused(folder: Path) -> None:
    with pytest.raises(InvalidCheckpointError, match=r"config\.json: is for mobilenet_v2, not for resnet101"):
        Checkpoint.load(folder, BackboneName.RESNET101)


@pytest.mark.parametrize("content", ["", "{", "{}", '{"version": 1}'])
def test_a_broken_config_is_named(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)
    with pytest.raises(InvalidCheckpointError, match=r"config\.json"):
        Checkpoint.load(folder, MOBILENET)
