"""What lies around an old photograph when it is scanned: the film's edge, the print's paper, the album's page.

None of it has the colours of the picture, and the network must learn to leave it grey.
"""

import random

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

_Gray = npt.NDArray[np.float32]

LARGEST_TILT = 3.0
"""Degrees: how crooked photographs lie in albums and on scanners."""


def surround(photo: Image.Image, rng: random.Random) -> Image.Image:
    """The photograph with surroundings in neutral greys, in a picture of its own size and mode "RGB".

    Equal states of `rng` give equal pictures.
    """
    kind = rng.random()
    if kind < 0.35:  # a negative's edge or a scanner's lid
        return _on(_surface(photo.size, rng.uniform(0, 30), 1, rng), photo, rng, margin=0.12)
    if kind < 0.7:  # a print's border
        return _on(_surface(photo.size, rng.uniform(215, 255), 1.5, rng), photo, rng, margin=0.12)
    # An album's page, from black cardboard to white paper, often with the print's border in between.
    if rng.random() < 0.6:
        photo = _on(_surface(photo.size, rng.uniform(215, 255), 1, rng), photo, rng, margin=0.05)
    return _on(_surface(photo.size, rng.uniform(15, 235), 5, rng), photo, rng, margin=0.25)


def _surface(size: tuple[int, int], level: float, roughness: float, rng: random.Random) -> Image.Image:
    """A sheet of one grey: uneven as paper is, with light that falls off to one side."""
    width, height = size
    generator = np.random.default_rng(rng.getrandbits(64))
    grain: _Gray = generator.standard_normal((height, width), dtype=np.float32) * np.float32(roughness)
    slope: _Gray = np.linspace(-1, 1, width, dtype=np.float32)[None, :] * np.float32(rng.uniform(-8, 8))
    gray = (level + grain + slope).clip(0, 255).astype(np.uint8)
    return Image.fromarray(gray).convert("RGB")


def _on(surface: Image.Image, photo: Image.Image, rng: random.Random, margin: float) -> Image.Image:
    """The photograph, smaller, on the surface; `margin`: the largest on each side, as a share of the picture's."""
    width, height = surface.size
    left, right = (round(width * rng.uniform(0, margin)) for _ in range(2))
    top, bottom = (round(height * rng.uniform(0, margin)) for _ in range(2))
    box = (width - left - right, height - top - bottom)
    smaller, shape = photo.resize(box, Image.Resampling.BICUBIC), Image.new("L", box)
    radius = rng.choice((0, 0, 0.05)) * min(box)
    ImageDraw.Draw(shape).rounded_rectangle((0, 0, box[0] - 1, box[1] - 1), radius, fill=255)
    if rng.random() < 0.5:
        tilt = rng.uniform(-LARGEST_TILT, LARGEST_TILT)
        smaller, shape = (picture.rotate(tilt, Image.Resampling.BILINEAR) for picture in (smaller, shape))
    surface.paste(smaller, (left, top), shape)
    return surface
