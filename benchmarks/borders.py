"""Pictures in scans: `python -m benchmarks.borders --photos FOLDER --borderless FOLDER`, Markdown on standard output.

- *Borders*: around each photograph, which must have none of its own, each kind of `benchmarks.mounts` is made. Boxes
  are right where the union of those found has an IoU of 0.97 with the union of those around the pictures, and none
  reaches further than 0.5 % of the picture's longer side, or a pixel, beyond them.
- *No borders*: on photographs without any, whatever is found is false. Those named in a list are left out.
- *Time*: of a photograph without and with borders, on one thread.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from benchmarks.machine import describe_machine
from benchmarks.mounts import KINDS
from benchmarks.scans import Gray, Scan
from service.imaging.borders.boxes import Box
from service.imaging.borders.pictures import find_pictures
from service.imaging.color import gray_to_lightness

SIDE = 1200
"""Larger photographs are reduced to it."""

TILE = 220
"""Pixels of an example on the sheet."""

LEAST_IOU, MOST_BEYOND = 0.97, 0.005

_SUFFIXES = {".avif", ".jpeg", ".jpg", ".png", ".webp"}
_LIGHTNESS = gray_to_lightness(torch.arange(256) / 255).numpy().astype(np.float32)


@dataclass(frozen=True)
class Finding:
    """What was found in one scan."""

    right: bool
    nothing: bool
    """Whether it was taken for a picture without borders."""
    picture_lost: float
    """The share of the pictures' area that is left neutral."""
    border_colored: float
    """The share of the borders' area that is coloured."""


def judge(scan: Scan, found: Sequence[Box] | None, oval: bool) -> Finding:
    """Compares what was found with what is there."""
    whole = Box(0, 0, *scan.gray.shape)
    truth, answer = union(scan.gray.shape, scan.boxes), union(scan.gray.shape, found or [whole])
    iou = (truth & answer).sum() / (truth | answer).sum()
    beyond = max(reach(box, scan.boxes) for box in found or [whole])
    right = bool(iou >= LEAST_IOU and beyond <= 0) or (oval and found is None)
    lost = (scan.shown & ~answer).sum() / scan.shown.sum()
    colored = (~scan.shown & answer).sum() / max(1, (~scan.shown).sum())
    return Finding(right, found is None, float(lost), float(colored))


def union(shape: tuple[int, ...], boxes: Sequence[Box]) -> NDArray[np.bool_]:
    """Whether each pixel is in one of the boxes."""
    inside = np.zeros(shape, np.bool_)
    for box in boxes:
        inside[box.top : box.bottom, box.left : box.right] = True
    return inside


def reach(box: Box, truth: Sequence[Box]) -> float:
    """By how many pixels too many a box reaches beyond the nearest true one; negative: within what is allowed."""
    return min(
        max(one.top - box.top, one.left - box.left, box.bottom - one.bottom, box.right - one.right)
        - max(1, MOST_BEYOND * max(one.height, one.width))
        for one in truth
    )


def mounted(photos: Sequence[Path], limit: int) -> Iterator[tuple[str, Scan]]:
    """Each kind around each photograph; the random numbers are those of the photograph's name and the kind's."""
    count = min(limit, len(photos))
    for file in (photos[i * len(photos) // count] for i in range(count)):
        picture = read(file)
        for kind, make in KINDS.items():
            yield kind, make(picture.copy(), np.random.default_rng(crc32(f"{file.name} {kind}".encode())))


def read(file: Path) -> Gray:
    """A photograph in grey."""
    with Image.open(file) as opened:
        picture = opened.convert("L")
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return np.asarray(picture, np.float32)


def files_of(folder: Path) -> list[Path]:
    """The photographs of a folder."""
    return [file for file in sorted(folder.iterdir()) if file.suffix.lower() in _SUFFIXES]


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.borders", description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, required=True, help="a folder of photographs without borders")
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument(
        "--borderless", type=Path, nargs="*", default=[], help="folders, to count what is found falsely"
    )
    parser.add_argument("--except", type=Path, dest="excluded", help="a list of those with borders of their own")
    parser.add_argument("--sheet", type=Path, help="a JPEG of one example of each kind")
    options = parser.parse_args()
    print("\n".join(f"- {line}" for line in describe_machine()))
    findings: dict[str, list[Finding]] = defaultdict(list)
    examples: dict[str, Image.Image] = {}
    kinds = list(KINDS)
    photos = files_of(options.photos)
    for number, (kind, scan) in enumerate(mounted(photos, options.limit)):
        gray = scan.photograph()
        found = find_pictures(_LIGHTNESS[gray])
        findings[kind].append(judge(scan, found, kind == "oval vignette"))
        # Each photograph has its turn.
        if number // len(kinds) == kinds.index(kind) % min(options.limit, len(photos)):
            examples[kind] = boxes_drawn(gray, found, TILE)
    print(f"- {len(findings[kinds[0]])} photographs, reduced to {SIDE} pixels where larger\n")
    print(table(findings))
    if options.borderless:
        excluded = set(options.excluded.read_text().split("\n")) if options.excluded else set()
        print(f"\n{borderless(options.borderless, excluded)}")
    print(f"\n{times(photos[0])}")
    if options.sheet:
        sheet(examples).save(options.sheet, quality=80)


def table(findings: Mapping[str, Sequence[Finding]]) -> str:
    """What was found, by kind, and of all."""
    lines = [
        "| kind | right | nothing found | picture left neutral | border coloured |",
        "| --- | --- | --- | --- | --- |",
    ]
    for kind, of_kind in [*findings.items(), ("all", [finding for some in findings.values() for finding in some])]:
        shares = [
            float(np.mean([getattr(finding, name) for finding in of_kind]))
            for name in ("right", "nothing", "picture_lost", "border_colored")
        ]
        lines.append(f"| {kind} | {' | '.join(f'{100 * share:.1f} %' for share in shares)} |")
    return "\n".join(lines)


def borderless(folders: Sequence[Path], excluded: Set[str]) -> str:
    """What was found on photographs on which there is nothing to find."""
    files = [file for folder in folders for file in files_of(folder) if file.name not in excluded]
    false = [file.name for file in files if find_pictures(_LIGHTNESS[read(file).astype(np.uint8)]) is not None]
    return f"{len(false)} of {len(files)} photographs without borders: {', '.join(false) or 'none'}"


def times(file: Path) -> str:
    """Milliseconds, the median of nine."""
    lines = [
        "| megapixels | without borders | film | print on a lid | four on a page |",
        "| --- | --- | --- | --- | --- |",
    ]
    kinds = ("black film", "white borders on a black lid", "four on an album page")
    for width, height in ((512, 384), (4000, 3000)):
        picture = read(file)
        scans = [picture, *(KINDS[kind](picture.copy(), np.random.default_rng(0)).gray for kind in kinds)]
        taken = []
        for scan in scans:
            gray = np.asarray(Image.fromarray(scan).resize((width, height)).convert("L"))
            lightness = _LIGHTNESS[gray]
            turns = []
            for _ in range(9):
                began = time.perf_counter()
                find_pictures(lightness)
                turns.append(time.perf_counter() - began)
            taken.append(f"{1000 * median(turns):.0f} ms")
        lines.append(f"| {width * height / 1e6:.1f} | {' | '.join(taken)} |")
    return "\n".join(lines)


def boxes_drawn(gray: NDArray[np.uint8], boxes: Sequence[Box] | None, side: int) -> Image.Image:
    """A small picture of a scan with the boxes found."""
    image = Image.fromarray(gray).convert("RGB")
    scale = side / max(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
    pen = ImageDraw.Draw(image)
    for box in boxes or []:
        corners = [scale * box.left, scale * box.top, scale * box.right - 1, scale * box.bottom - 1]
        pen.rectangle(corners, outline=(255, 40, 40))
    return image


def sheet(examples: Mapping[str, Image.Image]) -> Image.Image:
    """The examples side by side, each below its name."""
    columns, caption = 8, 14
    rows = -(-len(examples) // columns)
    page = Image.new("RGB", (columns * (TILE + 6), rows * (TILE + 6 + caption)), (70, 80, 110))
    pen = ImageDraw.Draw(page)
    for number, (kind, example) in enumerate(examples.items()):
        left, top = number % columns * (TILE + 6) + 3, number // columns * (TILE + 6 + caption)
        pen.text((left, top), kind, fill=(255, 255, 255))
        page.paste(example, (left, top + caption))
    return page


if __name__ == "__main__":
    main()
