"""What the checks share: the real service with random weights, and its metrics after some traffic."""

from collections.abc import Callable, Iterator

import pytest
from PIL import Image
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from tests.pictures import to_bytes

LONGEST_BODY = 100_000


@pytest.fixture(scope="session")
def service(make_settings: Callable[..., Settings]) -> Iterator[TestClient]:
    """The whole application in this process, its lifespan entered."""
    with TestClient(create_app(make_settings(max_upload_bytes=LONGEST_BODY))) as client:
        yield client


@pytest.fixture(scope="session")
def scrape(service: TestClient, gray_photo: Image.Image) -> str:
    """/metrics, after answers and refusals that bring every labelled series into being."""
    for format in ("JPEG", "PNG"):
        assert service.post("/colorize", content=to_bytes(gray_photo, format)).status_code == 200
    assert service.post("/colorize", content=b"no image").status_code == 415
    assert service.post("/colorize", content=bytes(LONGEST_BODY + 1)).status_code == 413
    return service.get("/metrics").text
