"""Levels of any colour space → L*, through the file's own profile."""

from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from io import BytesIO
from typing import Any

import imagecodecs
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageCms

from service.imaging.color import gray_to_lightness, luminance_to_lightness
from service.imaging.kernels import lightness_of
from service.imaging.profile import SRGB, SRGB_BYTES
from service.imaging.reading.raster import Raster, Space

_STEPS = 18
"""Levels of each channel that a profile is tried on."""

ToLightness = Callable[[NDArray[Any]], NDArray[np.float32]]
"""Levels (h, w, channels), without alpha → L* (h, w) in [0, 100]."""

_MODES = {Space.GRAY: "L", Space.RGB: "RGB", Space.CMYK: "CMYK"}
_NAMES = {Space.GRAY: "gray", Space.RGB: "rgb", Space.CMYK: "cmyk"}

_LONGEST_KEPT_PROFILE = 2**16
"""Profiles of scanners and cameras are a few kilobytes: what is larger is not kept."""


def lightness_reader(raster: Raster) -> ToLightness:
    """What turns the raster's levels into L*; a profile that cannot be used is left aside."""
    match raster.space:
        case Space.LAB:
            scale = np.float32(100 / (2**raster.depth - 1))
            return lambda levels: levels[..., 0] * scale
        case Space.GRAY:
            kept = raster.icc is None or len(raster.icc) <= _LONGEST_KEPT_PROFILE
            curve = (_tone_curve if kept else _tone_curve.__wrapped__)(raster.icc, raster.gamma, raster.depth)
            return lambda levels: curve[levels[..., 0]]
    gamma = raster.gamma if raster.space is Space.RGB else None
    convert = _to_srgb(raster.icc, raster.space, raster.depth)
    return lambda levels: lightness_of(convert(levels), gamma)


# Photographs mostly come one like the other, and this takes some twenty calls of torch.
@lru_cache(maxsize=16)
def _tone_curve(icc: bytes | None, gamma: float | None, depth: int) -> NDArray[np.float32]:
    """L* of each of the levels of grey."""
    if gamma is not None:
        light = torch.linspace(0, 1, 2**depth, dtype=torch.float64) ** (1 / gamma)
        return luminance_to_lightness(light).float().numpy()
    # A profile's curve is steeper next to black than 8 bits can tell.
    ramp = np.arange(2**16, dtype=np.uint16)[None, :: 257 if depth == 8 else 1, None]
    gray = _to_srgb(icc, Space.GRAY, 16)(np.ascontiguousarray(ramp)).reshape(2**depth, -1)[:, 0]
    return gray_to_lightness(torch.from_numpy(gray / np.float32(65_535))).numpy()


def _to_srgb(icc: bytes | None, space: Space, depth: int) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """What turns levels into those of sRGB, three channels of the same depth; of grey without a profile, one."""
    plain = _ink_on_paper if space is Space.CMYK else np.ascontiguousarray
    if icc is None or (space is Space.RGB and len(icc) <= _LONGEST_KEPT_PROFILE and _is_srgb(icc)):
        return plain
    convert = _convert_8 if depth == 8 else _convert_16
    with suppress(Exception):  # lcms tells of broken profiles in many ways
        profiled = convert(icc, space)
        profiled(np.zeros((1, 1, space.channels), np.uint8 if depth == 8 else np.uint16))
        return profiled
    return plain


@lru_cache(maxsize=16)
def _is_srgb(icc: bytes) -> bool:
    """Whether a profile changes nothing, as that of most photographs: to apply it takes as long as all the rest."""
    steps = np.linspace(0, 255, _STEPS).round().astype(np.uint8)
    colors = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(_STEPS, -1, 3)
    with suppress(Exception):
        return bool(np.abs(_convert_8(icc, Space.RGB)(colors).astype(np.int16) - colors).max() <= 1)
    return False


def _convert_8(icc: bytes, space: Space) -> Callable[[NDArray[Any]], NDArray[Any]]:
    mode = _MODES[space]
    transform = ImageCms.ImageCmsTransform(ImageCms.ImageCmsProfile(BytesIO(icc)), SRGB, mode, "RGB")

    def convert(levels: NDArray[Any]) -> NDArray[Any]:
        height, width, _ = levels.shape
        image = Image.frombuffer(mode, (width, height), np.ascontiguousarray(levels), "raw", mode, 0, 1)
        return np.asarray(transform.apply(image))

    return convert


def _convert_16(icc: bytes, space: Space) -> Callable[[NDArray[Any]], NDArray[Any]]:
    name = _NAMES[space]
    # A ramp of grey costs nothing unoptimised, and the optimised curve is far too dark next to black.
    flags = imagecodecs.CMS.FLAGS.NOOPTIMIZE if space is Space.GRAY else None

    def convert(levels: NDArray[Any]) -> NDArray[Any]:
        srgb: NDArray[Any] = imagecodecs.cms_transform(
            np.ascontiguousarray(levels), icc, SRGB_BYTES, colorspace=name, outcolorspace="rgb", flags=flags
        )
        return srgb

    return convert


def _ink_on_paper(levels: NDArray[Any]) -> NDArray[Any]:
    """CMYK without a profile → RGB: each ink takes its own light away, and black what is left."""
    largest = np.iinfo(levels.dtype).max
    light = (largest - levels).astype(np.float32)
    return (light[..., :3] * light[..., 3:] / largest + 0.5).astype(levels.dtype)
