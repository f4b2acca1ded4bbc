"""The pixels around the network: `python -m benchmarks.imaging --photos FOLDER`, Markdown on standard output.

- *Enlarging chroma*: each photograph's own a* and b*, averaged to the network's size, are enlarged again and compared
  with what they were. Edges are where L* changes by more than 8 a pixel (a Gaussian's gradient, σ 1.5), and 12 pixels
  around.
- *Time*: a JPEG of 12 megapixels through everything but the network, beside Pillow's decoding and encoding of it.
"""

import argparse
import io
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from benchmarks.machine import describe_machine
from service.imaging import kernels
from service.imaging.borders.boxes import Box
from service.imaging.color import rgb_to_lab
from service.imaging.formats import ImageFormat
from service.imaging.metadata.facts import Facts
from service.imaging.photograph import inspect
from service.imaging.recompose import Painting, Part, layout_of
from service.imaging.upsample import Chroma, reduce
from service.imaging.writing.answer import Encoding, sheet
from service.network.preprocessing import INPUT_SIZE

LEAST_PIXELS, MOST_PIXELS = 2_000_000, 5_000_000
"""Smaller photographs are left out, larger ones reduced, as their finest detail is the camera's noise."""

EDGE, REACH = 8.0, 12


def bicubic(ab: Tensor, lightness: Tensor) -> Tensor:
    """What most do."""
    return F.interpolate(ab[None], lightness.shape, mode="bicubic")[0]


def nearest(ab: Tensor, lightness: Tensor) -> Tensor:
    """What some do."""
    return F.interpolate(ab[None], lightness.shape, mode="nearest-exact")[0]


def bicubic_projected(ab: Tensor, lightness: Tensor) -> Tensor:
    """Bicubic, and corrected twice by what its means lack."""
    enlarged = bicubic(ab, lightness)
    for _ in range(2):
        lacking = ab - F.interpolate(enlarged[None], ab.shape[1:], mode="area")[0]
        enlarged = enlarged + bicubic(lacking, lightness)
    return enlarged


def guided(ab: Tensor, lightness: Tensor) -> Tensor:
    """The fast guided filter (He and Sun 2015): a* and b* as lines in L*, whose coefficients are enlarged."""
    guide = F.interpolate(lightness[None, None], ab.shape[1:], mode="area")[0]

    def mean(values: Tensor) -> Tensor:
        return F.avg_pool2d(values, 3, stride=1, padding=1, count_include_pad=False)

    variance = mean(guide * guide) - mean(guide) ** 2
    slope = (mean(guide * ab) - mean(guide) * mean(ab)) / (variance + 25)
    offset = mean(ab) - slope * mean(guide)
    return bicubic(mean(slope), lightness) * lightness + bicubic(mean(offset), lightness)


def ours(ab: Tensor, lightness: Tensor) -> Tensor:
    """The service's."""
    chroma = Chroma.of(ab, lightness)
    gray = np.ascontiguousarray(lightness.numpy())
    return torch.from_numpy(kernels.enlarge(gray, chroma.colors, chroma.guide, chroma.rows, chroma.columns))


WAYS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "nearest": nearest,
    "bicubic": bicubic,
    "bicubic, back-projected": bicubic_projected,
    "fast guided filter": guided,
    "joint bilateral, back-projected (ours)": ours,
}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.imaging", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--photos", type=Path, required=True, help="a folder of JPEGs in colour, of 2 megapixels or more"
    )
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    errors: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for lab in photographs(options.photos, options.limit):
        lightness, ab = lab[0], lab[1:]
        small = F.interpolate(ab[None], (INPUT_SIZE, INPUT_SIZE), mode="area")[0]
        edges = torch.from_numpy(near_edges(lightness.numpy()))
        for name, enlarge in WAYS.items():
            error = (enlarge(small, lightness) - ab).norm(dim=0)
            errors[name].append((error.mean().item(), error[edges].mean().item()))
    print("\n".join(f"- {line}" for line in describe_machine()))
    print(f"- {len(errors['bicubic'])} photographs of 2 megapixels or more\n")
    print("| enlarged from 224 × 224 | mean ΔE_ab | ÷ bicubic's | near edges | ÷ bicubic's |")
    print("| --- | --- | --- | --- | --- |")
    base = np.nanmean(errors["bicubic"], axis=0)
    for name, values in errors.items():
        everywhere, edge = np.nanmean(values, axis=0)
        print(f"| {name} | {everywhere:.3f} | {everywhere / base[0]:.3f} | {edge:.3f} | {edge / base[1]:.3f} |")
    print("\n| 12 megapixels, JPEG to JPEG, one thread | ms | ÷ Pillow's |\n| --- | --- | --- |")
    seconds = times(next(photographs(options.photos, 1)), options.rounds)
    for name, value in seconds.items():
        print(f"| {name} | {1000 * value:.0f} | {value / seconds['Pillow, decode and encode']:.2f} |")


def photographs(folder: Path, limit: int) -> Iterator[Tensor]:
    """CIELAB (3, H, W) of each, so many at most."""
    found = 0
    for file in sorted(folder.glob("*.jp*g")):
        with Image.open(file) as opened:
            if opened.width * opened.height < LEAST_PIXELS:
                continue
            scale = min(1.0, (MOST_PIXELS / (opened.width * opened.height)) ** 0.5)
            size = round(opened.width * scale), round(opened.height * scale)
            picture = opened.convert("RGB").resize(size, Image.Resampling.LANCZOS)
        yield rgb_to_lab(torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1).float() / 255)
        found += 1
        if found == limit:
            return


def near_edges(lightness: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether each pixel (H, W) is near a strong edge."""
    edges = ndimage.gaussian_gradient_magnitude(lightness, 1.5) > EDGE
    distance = ndimage.distance_transform_edt(~edges)
    near: NDArray[np.bool_] = (distance <= REACH) & edges.any()
    return near


def times(lab: Tensor, rounds: int) -> dict[str, float]:
    """Seconds, the median of rounds that take turns, of one photograph as a JPEG of 12 megapixels."""
    ab = F.interpolate(lab[None, 1:], (INPUT_SIZE, INPUT_SIZE), mode="area")[0]
    large = F.interpolate(lab[None, :1], (3000, 4000), mode="bicubic")[0, 0].clamp(0, 100)
    data = bytes(colored(large, ab))

    def pillow() -> None:
        with Image.open(io.BytesIO(data)) as picture:
            picture.save(io.BytesIO(), "JPEG", quality=90, subsampling="4:4:4")

    def all_but_the_network() -> None:
        photograph = inspect(data, 12_000_000).decode()
        reduce(photograph.lightness, INPUT_SIZE)
        colored(photograph.lightness, ab)

    ways = {"Pillow, decode and encode": pillow, "the service, all but the network": all_but_the_network}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            taken[name].append(time.perf_counter() - began)
    return {name: median(seconds) for name, seconds in taken.items()}


def colored(lightness: Tensor, ab: Tensor) -> memoryview:
    """A photograph in these colours, as JPEG."""
    height, width = lightness.shape
    paper = sheet(Encoding(ImageFormat.JPEG, 8), layout_of(width, height, 3, 8), Facts(), colors=True)
    painting = Painting(lightness, None, [Part(Box(0, 0, height, width), ab)], paper)
    painting.paint()
    painting.wait()
    return paper.finish()


if __name__ == "__main__":
    main()
