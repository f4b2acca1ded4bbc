from pathlib import Path
from shutil import copy

import pytest


@pytest.fixture
def two_photos(tmp_path: Path, photos: Path) -> Path:
    """A folder of two photographs."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("0.jpg", "1.png"):
        copy(photos / name, folder)
    return folder
