"""What archivists put on a scanner, and where the pictures are in it."""

from dataclasses import dataclass, field
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from service.imaging.borders.boxes import Box

Gray = NDArray[np.float32]
"""sRGB grey in [0, 255], (H, W)."""


@dataclass
class Scan:
    """What lies on the scanner, and where the pictures are."""

    rng: np.random.Generator
    gray: Gray
    shown: NDArray[np.bool_] = field(init=False)
    """Whether a pixel (H, W) is one of a picture."""
    boxes: list[Box] = field(default_factory=list)
    """Around each picture."""
    quality: int = 90
    """JPEG's, that the scan is kept with."""

    def __post_init__(self) -> None:
        self.shown = np.zeros(self.gray.shape, np.bool_)

    def lay(self, picture: Gray, top: int, left: int, cover: Gray | None = None, degrees: float = 0) -> None:
        """Lays a picture down, where `cover` (as large, in [0, 1]) says how much of it covers what is below, turned."""
        cover = np.ones_like(picture) if cover is None else cover
        sheets = [Image.fromarray(sheet) for sheet in (picture, cover)]
        if degrees:
            sheets = [sheet.rotate(degrees, Image.Resampling.BICUBIC, expand=True) for sheet in sheets]
        picture, cover = (np.asarray(sheet) for sheet in sheets)
        cover = np.clip(cover, 0, 1)
        part = slice(top, top + picture.shape[0]), slice(left, left + picture.shape[1])
        self.gray[part] += cover * (picture - self.gray[part])
        seen = cover > 0.5
        self.shown[part] |= seen
        rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
        self.boxes.append(
            Box(top + int(rows[0]), left + int(columns[0]), top + int(rows[-1]) + 1, left + int(columns[-1]) + 1)
        )

    def photograph(self) -> NDArray[np.uint8]:
        """The scan as it is read from its file, 8-bit grey."""
        file = BytesIO()
        Image.fromarray(np.clip(self.gray + 0.5, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=self.quality)
        return np.asarray(Image.open(file))


def ground(rng: np.random.Generator, height: int, width: int, level: float, grain: float, texture: float = 0) -> Gray:
    """A sheet of one grey, with grain of a pixel and texture of a few."""
    sheet = np.full((height, width), level, np.float32)
    sheet += rng.normal(0, grain, sheet.shape).astype(np.float32)
    if texture:
        rough = rng.normal(0, 1, (height, width)).astype(np.float32)
        for axis in (0, 1):
            rough += np.roll(rough, 1, axis) + np.roll(rough, -1, axis)
        sheet += texture * rough / rough.std()
    return sheet


def around(
    picture: Gray,
    rng: np.random.Generator,
    widths: tuple[float, float, float, float],
    level: float,
    grain: float = 1.5,
    texture: float = 0,
    cover: Gray | None = None,
    degrees: float = 0,
) -> Scan:
    """A picture with borders above, left of, below and right of it, in shares of its longer side."""
    height, width = Image.fromarray(picture).rotate(degrees, expand=True).size[::-1] if degrees else picture.shape
    above, left, below, right = (round(share * max(picture.shape)) for share in widths)
    scan = Scan(rng, ground(rng, above + height + below, left + width + right, level, grain, texture))
    scan.lay(picture, above, left, cover, degrees)
    return scan


def share(rng: np.random.Generator, low: float, high: float) -> float:
    """A number between."""
    return float(rng.uniform(low, high))


def four(rng: np.random.Generator, low: float, high: float) -> tuple[float, float, float, float]:
    """Unequal widths."""
    above, left, below, right = rng.uniform(low, high, 4).tolist()
    return above, left, below, right


def even(width: float) -> tuple[float, float, float, float]:
    """Equal widths."""
    return width, width, width, width


def rounded(picture: Gray, radius: float) -> Gray:
    """A cover with rounded corners, the radius a share of the shorter side."""
    height, width = picture.shape
    cover = Image.new("L", (width, height))
    ImageDraw.Draw(cover).rounded_rectangle((0, 0, width - 1, height - 1), radius * min(height, width), fill=255)
    return np.asarray(cover, np.float32) / np.float32(255)


def ragged(picture: Gray, rng: np.random.Generator, depth: float, grains: int) -> Gray:
    """A cover whose edges wander in and out, by a share of the shorter side, so many times along each."""
    height, width = picture.shape
    reach = depth * min(height, width)

    def edge(length: int) -> Gray:
        knots = rng.uniform(0, reach, grains)
        return np.asarray(np.interp(np.arange(length), np.linspace(0, length - 1, grains), knots), np.float32)

    y, x = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)
    vertical = np.minimum(y - edge(width), height - 1 - y - edge(width))
    horizontal = np.minimum(x - edge(height)[:, None], width - 1 - x - edge(height)[:, None])
    return np.asarray(np.clip(np.minimum(vertical, horizontal) + 0.5, 0, 1), np.float32)


def draw(scan: Scan) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """The scan to draw on; `drawn` takes it back."""
    image = Image.fromarray(scan.gray)
    return image, ImageDraw.Draw(image)


def drawn(scan: Scan, image: Image.Image) -> Scan:
    """The scan with what was drawn."""
    scan.gray = np.asarray(image).copy()
    return scan


def write(scan: Scan, text: str, middle: float, top: float, size: float, level: float) -> Scan:
    """A line of print, around a column and below a row."""
    image, pen = draw(scan)
    pen.text((middle, top), text, fill=level, font=ImageFont.load_default(max(8, size)), anchor="ma")
    return drawn(scan, image)


def sprockets(scan: Scan, top: float, height: float, level: float) -> Scan:
    """A row of rounded holes."""
    image, pen = draw(scan)
    pitch = scan.gray.shape[1] / 9
    for i in range(9):
        box = (i * pitch + 0.3 * pitch, top, i * pitch + 0.7 * pitch, top + height)
        pen.rounded_rectangle(box, 0.2 * height, fill=level)
    return drawn(scan, image)


def nested(scan: Scan, level: float, degrees: float) -> Scan:
    """What was laid down on a larger ground, turned."""
    outer = around(scan.gray, scan.rng, even(0.06), level, 1.5, degrees=degrees)
    turned = Image.fromarray(scan.shown).rotate(degrees, expand=True)
    inner = Scan(scan.rng, np.zeros_like(outer.gray))
    seen = np.asarray(turned, np.float32)
    inner.lay(seen, outer.boxes[0].top, outer.boxes[0].left, seen)
    inner.gray = outer.gray
    return inner


def steps(height: int, width: int, count: int) -> Gray:
    """A grey wedge along the longer side, from white to black."""
    levels = np.linspace(245, 12, count, dtype=np.float32)
    along = levels[np.arange(max(height, width)) * count // max(height, width)]
    return np.broadcast_to(along[:, None] if height >= width else along, (height, width)).copy()


def checker(rng: np.random.Generator, height: int, width: int, patch: int) -> Gray:
    """Patches of a colour target with black between, as their lightness."""
    target = np.full((height, width), 25, np.float32)
    for top in range(patch // 8, height - patch // 2, patch):
        for left in range(patch // 8, width - patch // 2, patch):
            target[top : top + patch * 3 // 4, left : left + patch * 3 // 4] = rng.uniform(40, 245)
    return target


def beside(scan: Scan, thing: Gray, top: int, left: int) -> Scan:
    """The scan with a thing that is no picture, as grainy as all."""
    height, width = thing.shape
    scan.gray[top : top + height, left : left + width] = thing + scan.rng.normal(0, 1.5, thing.shape).astype(np.float32)
    return scan


def hairline(picture: Gray, rng: np.random.Generator, level: float) -> Scan:
    """One to three pixels on every side."""
    pixels = 1 + int(rng.integers(3))
    scan = Scan(rng, np.pad(picture, pixels, constant_values=level))
    scan.lay(picture, pixels, pixels)
    return scan
