"""How old film and prints would have recorded a colour photograph, for training on.

A network trained on L* of modern photographs has only ever seen noiseless pictures whose greys are the eye's. Film had
its own sensitivity to colours: until about 1906 plates saw blue and little else, until the 1930s most film was
orthochromatic, blind to red, after which panchromatic film came near the eye (C. E. K. Mees, "The Theory of the
Photographic Process", 1942). Prints fade, lenses were soft, and scans are JPEG files.
"""

import random
from io import BytesIO

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageFilter

from service.imaging.color import RGB_TO_XYZ, srgb_decode

_Picture = npt.NDArray[np.float32]

# Companded 8-bit sRGB → linear light: emulsions add up light, not its companded values.
_LINEAR: _Picture = srgb_decode(torch.arange(256, dtype=torch.float32) / 255).numpy()
_LUMINANCE: _Picture = RGB_TO_XYZ[1].float().numpy()


def film(photo: Image.Image, rng: random.Random) -> Image.Image:
    """A colour photograph as an old black-and-white one: RGB → mode "L", of the same size.

    Sensitivity, tones, softness, grain and JPEG compression each vary with a probability of their own, all modestly,
    for pictures of some 224 pixels a side. Equal states of `rng` give equal pictures.
    """
    light: _Picture = _LINEAR[np.asarray(photo)] @ _sensitivity(rng)
    gray = _tones(light, rng)
    if rng.random() < 0.4:
        soft = _to_image(gray).filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.2)))
        gray = np.asarray(soft, np.float32) / np.float32(255)
    if rng.random() < 0.5:
        gray = gray + _grain(gray, rng)
    aged = _to_image(gray)
    if rng.random() < 0.5:
        aged = _compress(aged, quality=rng.randint(40, 95))
    return aged


def _sensitivity(rng: random.Random) -> _Picture:
    """What linear red, green and blue contribute, (3,), summing to 1 so that white stays white."""
    kind = rng.random()
    if kind < 0.3:
        return _LUMINANCE
    if kind < 0.7:  # panchromatic, through filters of any colour
        weights = [value * rng.uniform(0.4, 2.5) for value in (0.3, 0.5, 0.2)]
    elif kind < 0.9:  # orthochromatic
        weights = [rng.uniform(0, 0.06), rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.6)]
    else:  # sensitive to blue alone, as plates were
        weights = [rng.uniform(0, 0.03), rng.uniform(0.05, 0.25), 0.8]
    return np.array(weights, np.float32) / np.float32(sum(weights))


def _tones(light: _Picture, rng: random.Random) -> _Picture:
    """Linear light in [0, 1] → companded grey in [0, 1], with another gamma and other blacks and whites."""
    gamma = 2 ** rng.uniform(-0.5, 0.5) if rng.random() < 0.6 else 1.0
    gray = light.clip(0, 1) ** np.float32(gamma / 2.2)
    if rng.random() < 0.5:
        # Below 0 and above 1: a hard print, clipped at that end. Between: a faded one.
        black, white = rng.uniform(-0.08, 0.15), rng.uniform(0.85, 1.08)
        gray = (black + (white - black) * gray).clip(0, 1)
    return gray


def _grain(gray: _Picture, rng: random.Random) -> _Picture:
    """Clumps of up to two pixels, strongest in the middle tones: full black and full white have none to show."""
    height, width = gray.shape
    size, strength = rng.uniform(1, 2), rng.uniform(0.005, 0.035)
    generator = np.random.default_rng(rng.getrandbits(64))
    noise = generator.standard_normal((round(height / size), round(width / size)), dtype=np.float32)
    clumps = np.asarray(Image.fromarray(noise).resize((width, height), Image.Resampling.BILINEAR))
    grain: _Picture = clumps * np.sqrt(gray * (1 - gray)) * np.float32(2 * strength / clumps.std())
    return grain


def _compress(gray: Image.Image, quality: int) -> Image.Image:
    stream = BytesIO()
    gray.save(stream, "JPEG", quality=quality)
    return Image.open(stream).convert("L")


def _to_image(gray: _Picture) -> Image.Image:
    return Image.fromarray((gray.clip(0, 1) * 255).round().astype(np.uint8))
