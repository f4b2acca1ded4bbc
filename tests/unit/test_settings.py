from typing import get_args

import pytest
from pydantic import ValidationError

from service.engine.choice import BackboneChoice
from service.network.backbones import BackboneName
from service.settings import Backbone, Choice, Settings


def test_defaults_serve_both_backbones_on_this_machine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings()
    assert settings.backbones == ("mobilenet_v2", "resnet101")
    assert settings.default_backbone == "mobilenet_v2"
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert settings.max_wait_ms == 0


def test_environment_variables_carry_the_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOCHROME_BACKBONES", "resnet101, mobilenet_v2")
    monkeypatch.setenv("AUTOCHROME_DEFAULT_BACKBONE", "resnet101")
    monkeypatch.setenv("AUTOCHROME_MAX_BATCH_SIZE", "3")
    settings = Settings()
    assert settings.backbones == ("resnet101", "mobilenet_v2")
    assert settings.default_backbone == "resnet101"
    assert settings.max_batch_size == 3


def test_the_default_backbone_must_be_loaded() -> None:
    with pytest.raises(ValidationError, match="default_backbone 'mobilenet_v2' is not among"):
        Settings(backbones=("resnet101",))


def test_the_default_may_be_the_blend_of_all_backbones() -> None:
    assert Settings(default_backbone="blend").default_backbone == "blend"
    with pytest.raises(ValidationError, match="default_backbone 'blend' needs resnet101"):
        Settings(default_backbone="blend", backbones=("mobilenet_v2",))


def test_the_key_is_not_printed() -> None:
    assert "sesame" not in repr(Settings.model_validate({"api_key": "open sesame"}))


def test_settings_engine_and_network_know_the_same_backbones() -> None:
    assert get_args(Backbone) == tuple(name.value for name in BackboneName)
    assert get_args(Choice) == tuple(choice.value for choice in BackboneChoice)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("backbones", "mobilenet_v2,mobilenet_v2", "names one twice"),
        ("request_timeout_s", "inf", "finite number"),
        ("max_batch_size", "0", "greater than or equal to 1"),
        ("max_pixels", "89478486", "less than or equal to"),
        ("max_pixels_held", "49999999", "max_pixels_held 49999999 is less than max_pixels 50000000"),
    ],
)
def test_values_that_cannot_work_are_refused(name: str, value: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Settings.model_validate({name: value})


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOCHROME_API_KEY", "")
    assert Settings().api_key is None
