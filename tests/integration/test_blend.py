"""The blend of both backbones over HTTP, with random weights for each of them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient
from torch import Tensor

from service.app import create_app
from service.imaging.color import rgb_to_lab
from service.settings import Settings
from tests.pictures import from_bytes, to_bytes
from tests.scrape import sample

Make = Callable[..., Settings]


@pytest.fixture(scope="module")
def both(make_settings: Make, full_store: Path) -> Iterator[TestClient]:
    """A service with both backbones that blends by default."""
    settings = make_settings(model_store=full_store, default_backbone="blend", max_batch_size=1)
    with TestClient(create_app(settings)) as client:
        yield client


def backbones(client: TestClient) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in client.get("/backbones").json()["backbones"]}


def chroma(answer: bytes) -> Tensor:
    rgb = torch.from_numpy(np.asarray(from_bytes(answer).convert("RGB")).copy())
    return rgb_to_lab(rgb.permute(2, 0, 1).float() / 255)[1:]


def test_a_blend_has_the_mean_of_both_colours(both: TestClient, gray_photo: Image.Image) -> None:
    data = to_bytes(gray_photo, "PNG")
    answers = {
        # Faint, so that every colour is inside the gamut, where nothing but rounding to 8 bits comes between.
        name: both.post(f"/colorize?backbone={name}&saturation=0.2", content=data)
        for name in ("mobilenet_v2", "resnet101", "blend")
    }
    mobilenet, resnet, blend = (chroma(answer.content) for answer in answers.values())
    assert (mobilenet - resnet).abs().mean() > 1
    assert (blend - (mobilenet + resnet) / 2).abs().mean() < 0.3
    headers = answers["blend"].headers
    assert headers["x-autochrome-backbone"] == "blend"
    tags = [answers[name].headers["x-autochrome-model"] for name in ("mobilenet_v2", "resnet101")]
    assert headers["x-autochrome-model"] == ", ".join(tags)
    assert [part.split(";")[0] for part in headers["server-timing"].split(", ")] == [
        "decode",
        "queue",
        "inference",
        "recompose",
        "encode",
    ]


def test_it_may_be_the_default_and_is_listed_with_what_it_is_made_of(both: TestClient, gray_jpeg: bytes) -> None:
    assert both.post("/colorize", content=gray_jpeg).headers["x-autochrome-backbone"] == "blend"
    listed = backbones(both)
    assert [name for name, one in listed.items() if one["default"]] == ["blend"]
    assert listed["blend"]["available"]
    assert listed["blend"]["blend_of"] == ["mobilenet_v2", "resnet101"]
    assert (listed["blend"]["device"], listed["blend"]["version"], listed["blend"]["digest"]) == ("cpu", None, None)
    assert [listed[name]["version"] for name in ("mobilenet_v2", "resnet101")] == ["1.0.0", "2.0.0"]


def test_it_is_one_request_and_a_batch_of_each_backbone(both: TestClient, gray_jpeg: bytes) -> None:
    before = both.get("/metrics").text
    assert both.post("/colorize?backbone=blend", content=gray_jpeg).status_code == 200
    after = both.get("/metrics").text

    def added(series: str) -> float:
        return sample(after, series) - sample(before, series)

    assert added('autochrome_requests_total{backbone="blend",code="200"} ') == 1
    assert added("autochrome_requests_total{") == 1
    assert added('autochrome_request_seconds_count{backbone="blend"} ') == 1
    for stage in ("decode", "queue", "inference", "recompose", "encode"):
        assert added(f'autochrome_stage_seconds_count{{backbone="blend",stage="{stage}"}} ') == 1
    assert added("autochrome_stage_seconds_count{") == 5
    for name in ("mobilenet_v2", "resnet101"):
        assert added(f'autochrome_batches_total{{backbone="{name}",outcome="ok"}} ') == 1
        assert sample(after, f'autochrome_queue_depth{{backbone="{name}"}} ') == 0
    assert added("autochrome_batches_total{") == 2
    assert sample(after, "autochrome_in_flight ") == 0
    # What belongs to a network has no such label.
    blended = {line.partition("{")[0] for line in after.splitlines() if 'backbone="blend"' in line}
    assert {name.rpartition("_")[0] for name in blended} == {
        "autochrome_requests",
        "autochrome_request_seconds",
        "autochrome_stage_seconds",
    }


def test_openapi_offers_it(both: TestClient) -> None:
    document = both.get("/openapi.json").json()
    assert document["components"]["schemas"]["BackboneChoice"]["enum"] == ["mobilenet_v2", "resnet101", "blend"]


def test_it_needs_the_weights_of_both(client: TestClient, gray_jpeg: bytes) -> None:
    response = client.post("/colorize?backbone=blend", content=gray_jpeg)
    assert response.status_code == 404
    assert response.json()["type"] == "urn:autochrome:problem:backbone-unavailable"
    assert "python -m training fit --backbone resnet101" in response.json()["detail"]
    blend = backbones(client)["blend"]
    assert (blend["available"], blend["default"], blend["reason"]) == (False, False, response.json()["detail"])


def test_it_is_not_offered_by_a_service_with_one_backbone(make_settings: Make, gray_jpeg: bytes) -> None:
    with TestClient(create_app(make_settings(backbones="mobilenet_v2"))) as client:
        assert list(backbones(client)) == ["mobilenet_v2"]
        response = client.post("/colorize?backbone=blend", content=gray_jpeg)
    assert response.status_code == 404
    assert response.json()["detail"] == "resnet101 is not among the service's backbones"
