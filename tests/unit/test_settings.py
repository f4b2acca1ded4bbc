import re
from typing import get_args

import pytest
from PIL import Image
from pydantic import ValidationError

from service.cores import count_cores
from service.engine.choice import BackboneChoice
from service.imaging.formats import ImageFormat
from service.imaging.photograph import inspect
from service.imaging.reading import pillow
from service.imaging.writing import answer
from service.imaging.writing.answer import Encoding
from service.network.backbones import BackboneName
from service.settings import (
    BYTES_BESIDE_PIXELS,
    LEAST_BYTES_PER_PIXEL,
    MAX_PIXELS_LIMIT,
    Backbone,
    Choice,
    Settings,
    describe_settings,
)
from tests.pictures import to_bytes


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
        ("max_pixels", "300000001", "less than or equal to 300000000"),
        ("max_bytes_held", "1000000000", "max_bytes_held 1000000000 is less than the 1776824064 that the largest"),
    ],
)
def test_values_that_cannot_work_are_refused(name: str, value: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Settings.model_validate({name: value})


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOCHROME_LANES", "")
    assert Settings().lanes == count_cores()


def test_an_empty_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes from a Secret that went wrong, and would let everybody in."""
    monkeypatch.setenv("AUTOCHROME_API_KEY", "")
    with pytest.raises(ValidationError, match="AUTOCHROME_API_KEY is empty"):
        Settings()


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ("AUTOCHROME_MAX_PIXLES", "there is no setting AUTOCHROME_MAX_PIXLES; did you mean AUTOCHROME_MAX_PIXELS?"),
        ("AUTOCHROME_CODEC_THREADS", "there is no setting AUTOCHROME_CODEC_THREADS"),
        ("autochrome_prot", "did you mean AUTOCHROME_PORT?"),
    ],
)
def test_a_misspelt_variable_is_refused_with_the_nearest_name(
    variable: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "1")
    with pytest.raises(ValidationError, match=re.escape(message)):
        Settings()


def test_the_defaults_let_the_largest_photograph_in() -> None:
    settings = Settings()
    largest = LEAST_BYTES_PER_PIXEL * settings.max_pixels + BYTES_BESIDE_PIXELS + settings.max_upload_bytes
    assert largest == 1_776_824_064 <= settings.max_bytes_held


def test_settings_and_imaging_count_alike() -> None:
    size = 160, 120
    original = inspect(to_bytes(Image.new("L", size), "PNG"), 10**6)
    needed = original.kept_bytes + Encoding(ImageFormat.PNG, 8).memory_bytes(160 * 120, transparent=False)
    assert needed == BYTES_BESIDE_PIXELS + 160 * 120 * LEAST_BYTES_PER_PIXEL
    assert answer.BYTES_BESIDE_PIXELS == BYTES_BESIDE_PIXELS
    assert pillow.MAX_PIXELS_LIMIT == MAX_PIXELS_LIMIT


def test_all_settings_are_described_with_their_defaults() -> None:
    lines = describe_settings().splitlines()
    assert "  AUTOCHROME_PORT=8000" in lines
    assert "  AUTOCHROME_BACKBONES=mobilenet_v2,resnet101" in lines
    assert "  AUTOCHROME_API_KEY=" in lines
    assert len(lines) == 1 + len(Settings.model_fields)
