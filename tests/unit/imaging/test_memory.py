"""What a photograph takes in memory is what the service sets aside for it: measured on noise, the worst there is."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from /proc")

ROOT = Path(__file__).parents[3]

MEASURE = """
import ctypes, gc, json, zlib
from pathlib import Path
import imagecodecs, numpy as np, torch
from PIL import Image
from service.imaging.borders.boxes import Box
from service.imaging.formats import ImageFormat
from service.imaging.metadata.facts import Facts
from service.imaging.photograph import inspect
from service.imaging.recompose import Painting, Part, layout_of
from service.imaging.writing.answer import BYTES_BESIDE_PIXELS, Encoding, sheet
from tests.pictures import to_bytes
from tests.tiff_samples import noise
from tests.tiffs import Layout, page, tiff

torch.set_num_threads(1)
PIXELS = @side@**2

def memory(name):
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[name].split()[0]) * 1024

def peak(work):
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what was freed before would be taken again, and not be counted
    Path("/proc/self/clear_refs").write_text("5")  # the peak is from now on
    before = memory("VmRSS")
    kept = work()
    return memory("VmHWM") - before - BYTES_BESIDE_PIXELS, kept

def samples(bits, channels, side):
    return noise(bits, channels, side, side)

def image(channels, side):
    return Image.fromarray(samples(8, channels, side).squeeze())
"""

READ = """
deflate = {"code": lambda data: zlib.compress(data, 1), "tags": {259: 8}}
kinds = {
    "JPEG": lambda side: to_bytes(image(3, side), "JPEG", quality=90),
    "grey JPEG": lambda side: to_bytes(image(1, side), "JPEG"),
    "progressive JPEG": lambda side: to_bytes(image(1, side), "JPEG", progressive=True),
    "JPEG without its end": lambda side: to_bytes(image(3, side), "JPEG")[:-2],
    "JPEG of 12 bits": lambda side: imagecodecs.jpeg_encode(samples(12, 3, side), level=80, bitspersample=12),
    "lossless JPEG": lambda side: imagecodecs.ljpeg_encode(samples(16, 1, side)[..., 0], bitspersample=16),
    "PNG": lambda side: to_bytes(image(4, side), "PNG", compress_level=1),
    "PNG of 16 bits": lambda side: imagecodecs.png_encode(samples(16, 3, side), level=1),
    "WebP": lambda side: to_bytes(image(4, side), "WEBP", lossless=True, method=0, quality=0),
    "AVIF": lambda side: to_bytes(image(3, side), "AVIF", speed=10, subsampling="4:4:4"),
    "AVIF of 10 bits": lambda side: imagecodecs.avif_encode(samples(10, 3, side), level=60, speed=10, bitspersample=10),
    "JPEG 2000": lambda side: imagecodecs.jpeg2k_encode(samples(8, 3, side), level=40),
    "BMP": lambda side: to_bytes(image(3, side), "BMP"),
    "TIFF": lambda side: tiff(page(samples(16, 3, side), 2)),
    "TIFF in strips": lambda side: tiff(page(samples(16, 3, side), 2, Layout(rows=64, **deflate))),
    "TIFF in one strip": lambda side: tiff(page(samples(16, 4, side), 5, Layout(">", **deflate)), order=">"),
    "TIFF in planes": lambda side: tiff(page(samples(16, 3, side), 2, Layout(planar=True, **deflate))),
}
report = {}
for name, make in kinds.items():
    inspect(make(64), 10**9).decode()
    data = make(@side@)
    took, _ = peak(lambda: inspect(data, 10**9).decode())
    original = inspect(data, 10**9)
    report[name] = took / PIXELS, (original.kept_bytes + original.decoder_bytes) / PIXELS
    del original
    del data
print(json.dumps(report))
"""

WRITE = """
random = np.random.default_rng(0)
chroma = torch.randn(2, 224, 224) * 10

def paint(encoding, lightness, alpha):
    height, width = lightness.shape
    layout = layout_of(width, height, 3 if alpha is None else 4, encoding.depth)
    target = sheet(encoding, layout, Facts(), colors=True)
    painting = Painting(lightness, alpha, [Part(Box(0, 0, height, width), chroma)], target)
    painting.paint()
    painting.wait()
    return target.finish()

def noise_of(side, transparent):
    lightness = torch.from_numpy(random.random((side, side), np.float32) * 100)
    return lightness, torch.from_numpy(samples(8, 1, side)[..., 0]) if transparent else None

report = {}
for format in ImageFormat:
    for depth in format.depths:
        for transparent in (False, True):
            encoding = Encoding(format, depth, 100)
            paint(encoding, *noise_of(64, transparent))
            pixels = noise_of(@side@, transparent)
            took, answer = peak(lambda: paint(encoding, *pixels))
            # A file in memory that is mapped is not counted with the process.
            took += len(answer) if format not in (ImageFormat.PNG, ImageFormat.TIFF) else 0
            bound = encoding.memory_bytes(PIXELS, transparent) - BYTES_BESIDE_PIXELS
            report[f"{format} of {depth} bits" + " with alpha" * transparent] = took / PIXELS, bound / PIXELS
            del pixels, answer
print(json.dumps(report))
"""


def measure(program: str, side: int) -> dict[str, tuple[float, float]]:
    """Bytes a pixel, beside what is set aside for any size, and their bound, of pictures of that side."""
    code = (MEASURE + program).replace("@side@", str(side))
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert run.returncode == 0, run.stderr
    report: dict[str, tuple[float, float]] = json.loads(run.stdout)
    return report


@pytest.mark.parametrize("program", [READ, WRITE], ids=["reading", "writing"])
def test_no_photograph_takes_more_than_is_set_aside_for_it(program: str) -> None:
    report = measure(program, 1200)
    assert {name: each for name, each in report.items() if each[0] > each[1]} == {}
    # Nor is it far too much for the one that takes the most.
    took, bound = max(report.values())
    assert bound <= 2 * took


@pytest.mark.parametrize("program", [READ, WRITE], ids=["reading", "writing"])
def test_small_ones_take_no_more_than_that_and_what_is_set_aside_for_any(program: str) -> None:
    """Their chroma is fitted on every pixel."""
    report = measure(program, 512)
    assert {name: each for name, each in report.items() if each[0] > each[1]} == {}
