"""README's curls, run as printed against the weights in the repository."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.integration.conftest import Running

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs" / "pictures"


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")
def test_the_curls_of_the_readme_colour_their_photographs(serve: Callable[..., Running], tmp_path: Path) -> None:
    commands = re.findall(r"^curl .*$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert len(commands) == 2
    running = serve(model_store=ROOT / "model_store")
    shutil.copytree(ROOT / "docs" / "pictures", tmp_path / "docs" / "pictures")
    for command in commands:
        here = command.replace("http://127.0.0.1:8000", running.url)
        assert here != command
        subprocess.run(here, shell=True, check=True, cwd=tmp_path, timeout=60)
    picture = PICTURES / "mountain-road-mobilenet_v2.jpg"
    with Image.open(tmp_path / "coloured.jpg") as answer, Image.open(picture) as shown:
        assert answer.size == shown.size
        # The picture beside it is this very answer, but for the arithmetic of other processors.
        assert np.abs(np.asarray(answer, int) - np.asarray(shown, int)).mean() < 1
    with Image.open(tmp_path / "hills.webp") as answer, Image.open(PICTURES / "hills.jpg") as photo:
        assert (answer.format, answer.size) == ("WEBP", photo.size)
