"""The HTTP contract, through the whole application."""

import json
import logging
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient
from torch import Tensor

from service.app import create_app
from service.engine.lifecycle import Lifecycle, Phase
from service.network.openvino_runtime import openvino
from service.settings import Settings
from service.telemetry.logging import JsonFormatter
from tests.pictures import from_bytes, to_bytes
from tests.scrape import sample

Make = Callable[..., Settings]


def problem(response: object) -> tuple[int, str]:
    """Status and kind of a problem, its form checked."""
    headers, body = response.headers, response.json()  # type: ignore[attr-defined]
    assert headers["content-type"] == "application/problem+json"
    assert body["status"] == response.status_code  # type: ignore[attr-defined]
    assert body["request_id"] == headers["x-request-id"]
    assert body["title"]
    assert body["detail"]
    return body["status"], body["type"].removeprefix("urn:autochrome:problem:")


def is_colored(image: Image.Image) -> bool:
    rgb = np.asarray(image.convert("RGB")).astype(int)
    return bool(np.ptp(rgb, axis=2).mean() > 1)


def test_a_raw_body_comes_back_in_colour(client: TestClient, gray_jpeg: bytes) -> None:
    response = client.post("/colorize", content=gray_jpeg)
    assert response.status_code == 200
    assert response.headers["content-type"] == "image/jpeg"
    image = from_bytes(response.content)
    assert (image.size, image.mode, image.format) == ((160, 120), "RGB", "JPEG")
    assert is_colored(image)


def test_a_multipart_field_is_the_same_as_a_raw_body(client: TestClient, gray_jpeg: bytes) -> None:
    raw = client.post("/colorize?format=png", content=gray_jpeg)
    form = client.post("/colorize?format=png", files={"image": ("old.jpg", gray_jpeg, "image/jpeg")})
    assert form.status_code == 200
    assert form.content == raw.content


def test_headers_name_backbone_weights_and_time(client: TestClient, gray_jpeg: bytes) -> None:
    headers = client.post("/colorize", content=gray_jpeg).headers
    assert headers["x-autochrome-backbone"] == "mobilenet_v2"
    assert headers["x-autochrome-model"].startswith("1.2.3+")
    stages = [part.split(";")[0] for part in headers["server-timing"].split(", ")]
    assert stages == ["decode", "queue", "inference", "recompose", "encode"]


def test_the_photographs_own_lightness_survives(client: TestClient, gray_photo: Image.Image) -> None:
    colored = from_bytes(client.post("/colorize", content=to_bytes(gray_photo, "PNG")).content)
    gray = from_bytes(client.post("/colorize?saturation=0", content=to_bytes(gray_photo, "PNG")).content)
    assert is_colored(colored)
    assert np.array_equal(np.asarray(gray)[..., 0], np.asarray(gray_photo))
    assert not is_colored(gray)


def test_saturation_and_quality_are_obeyed(client: TestClient, gray_photo: Image.Image) -> None:
    data = to_bytes(gray_photo, "PNG")
    faint = from_bytes(client.post("/colorize?saturation=0.2", content=data).content)
    strong = from_bytes(client.post("/colorize?saturation=2", content=data).content)
    assert np.ptp(np.asarray(faint), axis=2).mean() < np.ptp(np.asarray(strong), axis=2).mean()
    small = client.post("/colorize?format=jpeg&quality=10", content=data).content
    large = client.post("/colorize?format=jpeg&quality=95", content=data).content
    assert len(small) < len(large)


def test_alpha_is_kept(client: TestClient, gray_photo: Image.Image) -> None:
    alpha = Image.linear_gradient("L").resize(gray_photo.size)
    photo = gray_photo.copy()
    photo.putalpha(alpha)
    image = from_bytes(client.post("/colorize", content=to_bytes(photo, "PNG")).content)
    assert image.mode == "RGBA"
    assert np.array_equal(np.asarray(image.getchannel("A")), np.asarray(alpha))


def test_orientation_is_applied(client: TestClient, gray_photo: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    response = client.post("/colorize?format=png", content=to_bytes(gray_photo, "JPEG", exif=exif, quality=95))
    image = from_bytes(response.content)
    assert image.size == (120, 160)
    upright = np.asarray(gray_photo.transpose(Image.Transpose.ROTATE_270)).astype(int)
    assert np.abs(np.asarray(image.convert("L")).astype(int) - upright).mean() < 6
    assert image.getexif().get(0x0112, 1) == 1


def test_a_request_id_is_made_or_kept(client: TestClient, gray_jpeg: bytes) -> None:
    made = client.post("/colorize", content=gray_jpeg).headers["x-request-id"]
    assert len(made) == 32
    kept = client.post("/colorize", content=gray_jpeg, headers={"X-Request-ID": "film-7_0001"})
    assert kept.headers["x-request-id"] == "film-7_0001"
    replaced = client.post("/colorize", content=gray_jpeg, headers={"X-Request-ID": 'forged" {}'})
    assert len(replaced.headers["x-request-id"]) == 32


def test_every_request_is_one_line_of_json(
    client: TestClient, gray_jpeg: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="service.api.context")
    response = client.post("/colorize", content=gray_jpeg)
    (record,) = (record for record in caplog.records if record.name == "service.api.context")
    line = JsonFormatter().format(record)
    assert "\n" not in line
    entry = json.loads(line)
    assert entry["request_id"] == response.headers["x-request-id"]
    assert (entry["method"], entry["path"], entry["status"]) == ("POST", "/colorize", 200)
    assert (entry["backbone"], entry["size"], entry["bytes_in"]) == ("mobilenet_v2", "160x120", len(gray_jpeg))
    assert {"decode_s", "queue_s", "inference_s", "recompose_s", "encode_s", "seconds"} <= set(entry)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", (422, "no-image")),
        (b"just some text", (415, "unsupported-format")),
        (b"\x89PNG\r\n\x1a\n", (422, "broken-image")),
    ],
)
def test_bad_bodies(client: TestClient, content: bytes, expected: tuple[int, str]) -> None:
    assert problem(client.post("/colorize", content=content)) == expected


def test_a_truncated_photograph_is_never_answered_half_grey(client: TestClient, gray_jpeg: bytes) -> None:
    assert problem(client.post("/colorize", content=gray_jpeg[: len(gray_jpeg) // 2])) == (422, "broken-image")


def test_bad_multipart_bodies(client: TestClient, gray_jpeg: bytes) -> None:
    wrong_name = client.post("/colorize", files={"picture": gray_jpeg})
    assert problem(wrong_name) == (422, "malformed-body")
    assert "'picture'" in wrong_name.json()["detail"]
    option = client.post("/colorize", files={"image": gray_jpeg}, data={"saturation": "0"})
    assert problem(option) == (422, "malformed-body")
    assert "query string" in option.json()["detail"]
    assert problem(client.post("/colorize", files={"image": b""})) == (422, "no-image")
    headers = {"content-type": "multipart/form-data"}
    assert problem(client.post("/colorize", content=b"--x", headers=headers)) == (422, "malformed-body")
    headers = {"content-type": "multipart/form-data; boundary=x"}
    assert problem(client.post("/colorize", content=b"no boundary", headers=headers)) == (422, "malformed-body")


def test_the_log_tells_what_was_wrong_with_a_file(
    client: TestClient, gray_jpeg: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="service.api.context")
    client.post("/colorize", content=gray_jpeg[:200])
    (record,) = (record for record in caplog.records if record.name == "service.api.context")
    assert vars(record)["problem"] == "broken-image"
    assert "Error" in vars(record)["cause"]


def test_other_http_errors_are_problems_too(client: TestClient) -> None:
    assert problem(client.get("/colorize")) == (405, "http")
    assert problem(client.get("/nowhere")) == (404, "http")


def test_uploads_are_bounded(make_settings: Make, gray_jpeg: bytes) -> None:
    with TestClient(create_app(make_settings(max_upload_bytes=len(gray_jpeg)))) as client:
        assert client.post("/colorize", content=gray_jpeg).status_code == 200
        announced = client.post("/colorize", content=gray_jpeg + b"\0")
        streamed = client.post("/colorize", content=iter([gray_jpeg, b"\0"]))
        form = client.post("/colorize", files={"image": gray_jpeg})
    assert "announced" in announced.json()["detail"]
    assert "announced" not in streamed.json()["detail"]
    assert [problem(response) for response in (announced, streamed, form)] == [(413, "too-large")] * 3


def test_pixels_are_bounded(make_settings: Make, gray_jpeg: bytes) -> None:
    with TestClient(create_app(make_settings(max_pixels=160 * 120 - 1))) as client:
        assert problem(client.post("/colorize", content=gray_jpeg)) == (413, "too-many-pixels")


def test_a_key_is_wanted_where_one_is_set(make_settings: Make, gray_jpeg: bytes) -> None:
    with TestClient(create_app(make_settings(api_key="open sesame"))) as client:
        missing = client.post("/colorize", content=gray_jpeg)
        wrong = client.post("/colorize", content=gray_jpeg, headers={"Authorization": "Bearer sesame"})
        assert [problem(missing), problem(wrong)] == [(401, "unauthorized")] * 2
        assert missing.headers["www-authenticate"] == "Bearer"
        right = client.post("/colorize", content=gray_jpeg, headers={"Authorization": "bearer open sesame"})
        assert right.status_code == 200
        assert client.get("/readyz").status_code == 200


def test_a_backbone_without_weights_is_told_how_to_get_them(client: TestClient, gray_jpeg: bytes) -> None:
    response = client.post("/colorize?backbone=resnet101", content=gray_jpeg)
    assert problem(response) == (404, "backbone-unavailable")
    assert "python -m training fit --backbone resnet101" in response.json()["detail"]
    loaded, missing, _ = client.get("/backbones").json()["backbones"]
    assert (loaded["name"], loaded["available"], loaded["default"]) == ("mobilenet_v2", True, True)
    assert (loaded["version"], loaded["device"]) == ("1.2.3", "cpu")
    assert len(loaded["digest"]) == 64
    assert (missing["name"], missing["available"]) == ("resnet101", False)
    assert (missing["device"], missing["precision"], missing["path"]) == (None, None, None)
    assert "python -m training fit --backbone resnet101" in missing["reason"]


@pytest.mark.parametrize("precision", ["auto", "float32"])
def test_each_backbone_tells_what_it_computes_in_and_how(make_settings: Make, full_store: Path, precision: str) -> None:
    capabilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    expected = "bfloat16" if precision == "auto" and "BF16" in capabilities else "float32"
    with TestClient(create_app(make_settings(model_store=full_store, precision=precision, max_batch_size=1))) as client:
        *networks, blend = client.get("/backbones").json()["backbones"]
        text = client.get("/metrics").text
    for network in networks:
        assert (network["device"], network["precision"], network["path"]) == ("cpu", expected, "openvino")
        labels = f'device="cpu",digest="{network["digest"][:12]}",precision="{expected}"'
        assert sample(text, f'autochrome_model_info{{backbone="{network["name"]}",{labels}') == 1
    assert (blend["device"], blend["precision"], blend["path"]) == ("cpu", None, None)


def test_each_backbone_answers_with_its_own_colours(make_settings: Make, full_store: Path, gray_jpeg: bytes) -> None:
    with TestClient(create_app(make_settings(model_store=full_store, default_backbone="resnet101"))) as client:
        default = client.post("/colorize?format=png", content=gray_jpeg)
        resnet = client.post("/colorize?format=png&backbone=resnet101", content=gray_jpeg)
        mobilenet = client.post("/colorize?format=png&backbone=mobilenet_v2", content=gray_jpeg)
        available = {one["name"]: one["available"] for one in client.get("/backbones").json()["backbones"]}
    assert available == {"mobilenet_v2": True, "resnet101": True, "blend": True}
    assert [answer.headers["x-autochrome-backbone"] for answer in (resnet, mobilenet)] == ["resnet101", "mobilenet_v2"]
    assert resnet.headers["x-autochrome-model"].startswith("2.0.0+")
    assert default.content == resnet.content
    assert is_colored(from_bytes(resnet.content))
    assert resnet.content != mobilenet.content


def test_a_backbone_that_was_not_asked_for_is_not_offered(make_settings: Make, gray_jpeg: bytes) -> None:
    with TestClient(create_app(make_settings(backbones="mobilenet_v2"))) as client:
        assert [backbone["name"] for backbone in client.get("/backbones").json()["backbones"]] == ["mobilenet_v2"]
        response = client.post("/colorize?backbone=resnet101", content=gray_jpeg)
    assert problem(response) == (404, "backbone-unavailable")


def test_a_closed_service_admits_nothing_and_says_so(client: TestClient, gray_jpeg: bytes) -> None:
    client.app.state.lifecycle.phase = Phase.CLOSED  # type: ignore[attr-defined]
    response = client.post("/colorize", content=gray_jpeg)
    assert problem(response) == (503, "not-serving")
    assert response.headers["retry-after"] == "1"
    assert client.get("/readyz").status_code == 503
    assert client.get("/livez").status_code == 200
    assert 'autochrome_rejections_total{reason="draining"} 1.0' in client.get("/metrics").text


def test_an_inference_failure_is_a_500_and_never_the_grey_original(
    client: TestClient, gray_jpeg: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object) -> Tensor:
        raise RuntimeError("a secret of the inside")

    with monkeypatch.context() as patched:
        patched.setattr("service.network.compiled.CompiledColorizer.predict_with_error", fail)
        response = client.post("/colorize", content=gray_jpeg)
    assert problem(response) == (500, "inference-failed")
    assert response.json()["detail"].endswith("RuntimeError")
    assert "secret" not in response.text
    assert client.post("/colorize", content=gray_jpeg).status_code == 200


def test_an_unforeseen_error_is_a_500_with_its_id(
    client: TestClient, gray_jpeg: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_args: object) -> None:
        raise ZeroDivisionError("a secret of the inside")

    monkeypatch.setattr("service.engine.job.Painting", fail)
    response = client.post("/colorize", content=gray_jpeg)
    assert problem(response) == (500, "internal")
    assert "secret" not in response.text
    (record,) = (record for record in caplog.records if record.message == "unhandled error")
    assert vars(record)["request_id"] == response.headers["x-request-id"]
    counted = 'autochrome_requests_total{backbone="mobilenet_v2",code="500"} 1.0'
    assert counted in client.get("/metrics").text


def test_the_page_for_people_is_served(client: TestClient) -> None:
    response = client.get("/")
    assert response.headers["content-type"].startswith("text/html")
    assert '<input id="file" type="file"' in response.text


def test_docs_are_served(client: TestClient) -> None:
    assert client.get("/docs").status_code == 200
    operation = client.get("/openapi.json").json()["paths"]["/colorize"]["post"]
    kinds = {f"image/{kind}" for kind in ("jpeg", "png", "tiff", "webp", "avif", "heic", "jp2", "bmp", "gif")}
    assert set(operation["requestBody"]["content"]) == {"multipart/form-data", *kinds}
    answers = {f"image/{kind}" for kind in ("png", "jpeg", "webp", "tiff", "avif")}
    assert answers <= set(operation["responses"]["200"]["content"])
    assert {"200", "401", "404", "408", "413", "415", "422", "429", "500", "503", "504"} <= set(operation["responses"])
    assert [parameter["name"] for parameter in operation["parameters"]] == [
        "format",
        "depth",
        "quality",
        "compression",
        "saturation",
        "strength",
        "warmth",
        "max_side",
        "page",
        "border",
        "output",
        "metadata",
        "backbone",
    ]
    assert all(parameter["description"] for parameter in operation["parameters"])


def test_what_autoscalers_ask_for_is_there_before_the_first_batch(client: TestClient) -> None:
    text = client.get("/metrics").text
    assert 'autochrome_batch_seconds_sum{backbone="mobilenet_v2"} 0.0' in text
    assert 'autochrome_batches_total{backbone="mobilenet_v2",outcome="ok"} 0.0' in text
    assert "autochrome_predicted_wait_seconds 0.0" in text


def test_probes_are_no_news_while_all_is_well(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="service.api.context")
    for path in ("/livez", "/readyz", "/metrics"):
        assert client.get(path).status_code == 200
    assert [record for record in caplog.records if record.name == "service.api.context"] == []
    lifecycle: Lifecycle = client.app.state.lifecycle  # type: ignore[attr-defined]
    lifecycle.phase = Phase.DRAINING
    assert client.get("/readyz").status_code == 503
    (record,) = (record for record in caplog.records if record.name == "service.api.context")
    assert vars(record)["path"] == "/readyz"


def test_metrics_count_exactly(client: TestClient, gray_jpeg: bytes) -> None:
    for _ in range(3):
        client.post("/colorize", content=gray_jpeg)
    client.post("/colorize", content=b"text")
    client.post("/colorize?quality=0", content=gray_jpeg)
    client.get("/backbones")
    text = client.get("/metrics").text
    assert sample(text, 'autochrome_requests_total{backbone="mobilenet_v2",code="200"} ') == 3
    assert sample(text, 'autochrome_requests_total{backbone="mobilenet_v2",code="415"} ') == 1
    assert sample(text, 'autochrome_requests_total{backbone="unknown",code="422"} ') == 1
    assert sample(text, "autochrome_requests_total{") == 5
    assert sample(text, 'autochrome_request_seconds_count{backbone="mobilenet_v2"} ') == 4
    for stage in ("decode", "queue", "inference", "recompose", "encode"):
        assert sample(text, f'autochrome_stage_seconds_count{{backbone="mobilenet_v2",stage="{stage}"}} ') == 3
    assert sample(text, 'autochrome_batch_size_sum{backbone="mobilenet_v2"} ') == 3
    assert sample(text, 'autochrome_batches_total{backbone="mobilenet_v2",outcome="ok"} ') == 3
    assert sample(text, 'autochrome_batch_seconds_count{backbone="mobilenet_v2"} ') == 3
    assert sample(text, 'autochrome_batch_seconds_sum{backbone="mobilenet_v2"} ') > 0
    assert sample(text, "autochrome_predicted_wait_seconds ") == 0
    assert sample(text, 'autochrome_queue_depth{backbone="mobilenet_v2"} ') == 0
    assert sample(text, 'autochrome_queue_oldest_seconds{backbone="mobilenet_v2"} ') == 0
    assert sample(text, "autochrome_in_flight ") == 0
    assert sample(text, "autochrome_bytes_held ") == 0
    assert sample(text, "autochrome_ready ") == 1
    assert sample(text, f'autochrome_build_info{{version="{version("autochrome")}"}} ') == 1
    assert sample(text, "autochrome_model_info{") == 1
    assert sample(text, "autochrome_rejections_total{") == 0
    assert sample(text, "autochrome_device_memory_bytes{") == 0


def test_rejections_are_counted_by_reason(make_settings: Make, gray_jpeg: bytes) -> None:
    with TestClient(create_app(make_settings(max_pixels=100, max_upload_bytes=10_000))) as client:
        client.post("/colorize", content=gray_jpeg)
        client.post("/colorize", content=bytes(10_001))
        text = client.get("/metrics").text
    assert 'autochrome_rejections_total{reason="too_many_pixels"} 1.0' in text
    assert 'autochrome_rejections_total{reason="too_large"} 1.0' in text
