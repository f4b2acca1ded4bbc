"""Large photographs through the service as it is: `python -m benchmarks.large`, Markdown on standard output.

Each is a picture of docs/pictures made as large as a scan, with a scanner's noise, sent over HTTP to a service of its
own. *Peak* is what the process takes in memory over what it takes when it has nothing to do, the upload included (Linux
only). *÷ Pillow* is the time over Pillow's own for decoding the file and writing it as what was answered, in one
thread; for 16 bits there is none, as Pillow has no such pictures of RGB.
"""

import argparse
import io
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from benchmarks.machine import describe_machine

PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "hills.jpg"
NOISE = 0.004
"""Of the scanner, its standard deviation as a share of white."""

ROUNDS = 3
START_S = 120


@dataclass(frozen=True)
class Case:
    """A photograph, and what is asked for."""

    name: str
    width: int
    height: int
    mode: str
    """"gray16", "rgb" or "jpeg"."""
    query: str
    pillow: dict[str, object] | None
    """How Pillow writes the same."""


JPEG = {"format": "JPEG", "quality": 90, "subsampling": "4:4:4"}
CASES = [
    Case("12 MP JPEG → JPEG", 4000, 3000, "jpeg", "", JPEG),
    Case("29 MP RGB TIFF → TIFF", 6600, 4400, "rgb", "", {"format": "TIFF", "compression": "tiff_adobe_deflate"}),
    Case("49 MP RGB TIFF → PNG", 8100, 6050, "rgb", "?format=png", {"format": "PNG", "compress_level": 1}),
    Case("100 MP 16-bit grey TIFF → TIFF", 11_500, 8_700, "gray16", "", None),
]


def main() -> None:
    """Prints the table."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter).parse_args()
    print(describe_machine(), end="\n\n")
    print(
        "| photograph | sent, MB | answered, MB | seconds | ÷ Pillow | peak, MB over idle |\n|---|---|---|---|---|---|"
    )
    for case in CASES:
        data = made(case)
        with service() as (url, process):
            took, answered, peak = measure(f"{url}/colorize{case.query}", data, process)
        ratio = "" if case.pillow is None else f"{took / pillow_s(data, case.pillow):.2f}"
        print(
            f"| {case.name} | {len(data) / 1e6:.0f} | {answered / 1e6:.0f} | {took:.2f} | {ratio} | {peak / 1e6:.0f} |"
        )


def made(case: Case) -> bytes:
    """The file."""
    levels = np.asarray(Image.open(PICTURE).convert("L").resize((case.width, case.height), Image.Resampling.BICUBIC))
    random = np.random.default_rng(0)
    noisy = np.empty(levels.shape, np.uint16 if case.mode == "gray16" else np.uint8)
    white = np.iinfo(noisy.dtype).max
    for top in range(0, case.height, 256):
        band = levels[top : top + 256] / np.float32(255)
        noise = random.standard_normal(band.shape, np.float32) * NOISE
        noisy[top : top + 256] = ((band + noise).clip(0, 1) * white).round()
    file = io.BytesIO()
    if case.mode == "jpeg":
        Image.fromarray(noisy).convert("RGB").save(file, "JPEG", quality=90)
    elif case.mode == "rgb":
        tifffile.imwrite(file, np.repeat(noisy[..., None], 3, axis=2), photometric="rgb", rowsperstrip=64)
    else:
        tifffile.imwrite(file, noisy, photometric="minisblack", rowsperstrip=64)
    return file.getvalue()


@contextmanager
def service() -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """A service with one backbone that is ready, and its process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {"AUTOCHROME_PORT": str(port), "AUTOCHROME_BACKBONES": "mobilenet_v2", "AUTOCHROME_DRAIN_S": "0"}
    settings |= {"AUTOCHROME_REQUEST_TIMEOUT_S": "300"}
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "service"]
    with subprocess.Popen(
        command, env=os.environ | settings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            give_up = time.monotonic() + START_S
            while not ready(url):
                if process.poll() is not None or time.monotonic() > give_up:
                    raise RuntimeError("the service does not start")
                time.sleep(0.2)
            yield url, process
        finally:
            process.terminate()


def ready(url: str) -> bool:
    """Whether it is."""
    try:
        with urllib.request.urlopen(f"{url}/readyz"):
            return True
    except (urllib.error.URLError, ConnectionError):
        return False


def measure(url: str, data: bytes, process: "subprocess.Popen[bytes]") -> tuple[float, int, int]:
    """Seconds, the best of some rounds; bytes of the answer; and bytes of memory, the most of the rounds."""
    folder = Path(f"/proc/{process.pid}")
    idle, peak, best, answered = memory(folder, "VmRSS"), 0, float("inf"), 0
    for _ in range(ROUNDS):
        (folder / "clear_refs").write_text("5")  # the peak is from now on
        began = time.perf_counter()
        request = urllib.request.Request(url, data, {"Content-Type": "application/octet-stream"})
        with urllib.request.urlopen(request) as answer:
            answered = len(answer.read())
        best = min(best, time.perf_counter() - began)
        peak = max(peak, memory(folder, "VmHWM") - idle)
    return best, answered, peak


def memory(folder: Path, name: str) -> int:
    """In bytes, as the process's status has it."""
    lines = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
    return int(lines[name].split()[0]) * 1024


def pillow_s(data: bytes, options: dict[str, object]) -> float:
    """Seconds that Pillow takes to decode the file and to write it, the best of some rounds."""
    best = float("inf")
    Image.MAX_IMAGE_PIXELS = None
    for _ in range(ROUNDS):
        began = time.perf_counter()
        with Image.open(io.BytesIO(data)) as picture:
            picture.save(io.BytesIO(), **options)  # type: ignore[arg-type]
        best = min(best, time.perf_counter() - began)
    return best


if __name__ == "__main__":
    main()
