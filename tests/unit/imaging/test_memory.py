"""What a photograph takes in memory is what the service sets aside for it: measured on noise, the worst there is."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from /proc")

ROOT = Path(__file__).parents[3]

MEASURE = """
import io, json
from pathlib import Path
import numpy as np, torch
from PIL import Image
from service.imaging.codec import BYTES_BESIDE_PIXELS, BYTES_PER_PIXEL, ImageFormat, decode, encode
from service.imaging.recompose import recompose
from service.imaging.upsample import reduce

torch.set_num_threads(1)

def memory(name):
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[name].split()[0]) * 1024

def take(data, format):
    photograph = decode(data, 10**9)
    reduce(photograph.lightness, 224)
    rgb = recompose(photograph.lightness, torch.randn(2, 224, 224) * 10, 1.0)
    return encode(rgb, photograph.alpha, format, 100)

random = np.random.default_rng(0)

def noise(mode, side):
    file = io.BytesIO()
    channels = len(mode)
    levels = random.integers(0, 256, (side, side, channels), np.uint8)
    Image.fromarray(levels.squeeze()).save(file, "PNG", compress_level=1)
    return file.getvalue()

report = {}
for format, transparent in BYTES_PER_PIXEL:
    for mode in ("RGBA", "LA") if transparent else ("RGB", "L"):
        take(noise(mode, 200), format)
        data = noise(mode, @side@)
        Path("/proc/self/clear_refs").write_text("5")  # the peak is from now on
        before = memory("VmRSS")
        answer = take(data, format)
        # The answer once more: the file in memory that it was written into is not counted with the process.
        took = memory("VmHWM") - before + len(answer) - BYTES_BESIDE_PIXELS
        report[f"{mode} as {format}"] = (took / @side@**2, BYTES_PER_PIXEL[format, transparent])
        del answer, data
print(json.dumps(report))
"""


def measure(side: int) -> dict[str, tuple[float, int]]:
    """Bytes a pixel, beside what is set aside for any size, and their bound, of pictures of that side."""
    code = MEASURE.replace("@side@", str(side))
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert run.returncode == 0, run.stderr
    report: dict[str, tuple[float, int]] = json.loads(run.stdout)
    assert len(report) == 12
    return report


def test_no_photograph_takes_more_than_is_set_aside_for_it() -> None:
    report = measure(2000)
    assert {name: took for name, (took, bound) in report.items() if took > bound} == {}
    # Nor is it far too much for the one that takes the most.
    assert all(max(took for took, bound in report.values() if bound == worst) > worst / 2 for worst in (18, 24, 51))


@pytest.mark.parametrize("side", [512, 896])
def test_small_ones_take_no_more_than_that_and_what_is_set_aside_for_any(side: int) -> None:
    """Their chroma is fitted on every pixel."""
    report = measure(side)
    assert {name: took for name, (took, bound) in report.items() if took > bound} == {}
