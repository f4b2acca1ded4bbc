from pathlib import Path

import pytest

from service.network.checkpoint import Checkpoint
from tests.unit.training.tiny import batch, tiny_run
from training.errors import ExistingModelError, NoRunError, UnservableRunError
from training.fit.export import export
from training.fit.run import CHECKPOINT_FILE


def test_an_exported_model_is_the_average_and_says_where_it_comes_from(tmp_path: Path) -> None:
    run = tiny_run(7)
    run.provenance = {"initial": "1.0.0+abc", "photographs": {"train": 95, "validation": 5}}
    run.step(*batch())
    run.seconds = 90
    run.save(tmp_path / CHECKPOINT_FILE)
    export(tmp_path, tmp_path / "store", "1.1.0")
    model = Checkpoint.load(tmp_path / "store" / "mobilenet_v2")
    assert model.config.version == "1.1.0"
    half = run.averaged().fusion.state_dict()
    assert all(
        tensor.equal(half[name].half().float())
        for name, tensor in model.colorizer.fusion.state_dict().items()
        if tensor.is_floating_point()
    )
    training = model.config.training
    assert training["recipe"] == run.recipe.model_dump(mode="json")
    assert (training["seed"], training["photos_seen"], training["minutes"]) == (7, 4, 1.5)
    assert training["initial"] == "1.0.0+abc"
    assert training["photographs"] == {"train": 95, "validation": 5}
    assert training["exported"].startswith("20")


def test_a_model_is_never_written_over_another(tmp_path: Path) -> None:
    tiny_run().save(tmp_path / CHECKPOINT_FILE)
    export(tmp_path, tmp_path / "store", "1.0.0")
    with pytest.raises(ExistingModelError, match="mobilenet_v2"):
        export(tmp_path, tmp_path / "store", "1.1.0")


def test_a_network_that_is_not_served_is_not_exported(tmp_path: Path) -> None:
    tiny_run(loss="classification").save(tmp_path / CHECKPOINT_FILE)
    with pytest.raises(UnservableRunError, match="classification"):
        export(tmp_path, tmp_path / "store", "1.0.0")
    assert not (tmp_path / "store").exists()


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoRunError, match=str(tmp_path)):
        export(tmp_path, tmp_path / "store", "1.0.0")
