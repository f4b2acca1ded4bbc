"""What is written into TIFFs, and what it means."""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import tifffile
import torch
from numpy.typing import NDArray
from torch import Tensor

from service.imaging.metadata.directory import Order
from tests.photographs import gray_lightness, rgb_lightness

HEIGHT, WIDTH = 40, 56

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, SEPARATED, YCBCR, CIELAB, ICCLAB = 0, 1, 2, 3, 5, 6, 8, 9

RGBA_8 = "libtiff, as RGBA in 8 bits"
SAMPLES = "libtiff, its samples"
PILLOW = "Pillow"

Shown = Callable[[NDArray[Any]], Tensor]
"""Samples (h, w, n) → L* (h, w)."""


@dataclass(frozen=True)
class Kind:
    """A file and what is to be seen in it."""

    data: bytes
    samples: NDArray[Any]
    """(h, w, n), as written."""
    shown: Shown
    seen_by: tuple[str, ...]
    """Second decoders that can read it; none: no other one among the dependencies does."""
    alpha: NDArray[Any] | None = None
    atol: float = 1e-3
    """Of what is read against what was written, in L*."""

    @property
    def lightness(self) -> Tensor:
        return self.shown(self.samples)


def noise(bits: int, channels: int = 1, height: int = HEIGHT, width: int = WIDTH) -> NDArray[Any]:
    """Every level, or many of them, in no order."""
    dtype = np.dtype(f"u{1 if bits <= 8 else 2 if bits <= 16 else 4 if bits <= 32 else 8}")
    random = np.random.default_rng(bits)
    return random.integers(0, 2**bits - 1, (height, width, channels), dtype=dtype, endpoint=True)


def ramp(channels: int = 1, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    """8 bits that lossy codecs keep."""
    levels = np.add.outer(np.arange(height), np.arange(width)) * 2 + 20
    return np.stack([levels, 240 - levels, levels // 2 + 60, levels][:channels], axis=2).astype(np.uint8)


def gray(bits: int) -> Shown:
    return lambda samples: gray_lightness(samples[..., 0], 2**bits - 1)


def inverted(bits: int) -> Shown:
    return lambda samples: gray_lightness(2**bits - 1 - samples[..., 0].astype(np.float64), 2**bits - 1)


def colors(bits: int) -> Shown:
    return lambda samples: rgb_lightness(samples[..., :3], 2**bits - 1)


def ink(bits: int) -> Shown:
    """Each takes its own light away, and black what is left."""

    def shown(samples: NDArray[Any]) -> Tensor:
        light = 1 - samples[..., :4] / (2**bits - 1)
        return rgb_lightness(light[..., :3] * light[..., 3:], 1)

    return shown


def lab(largest: float) -> Shown:
    return lambda samples: torch.from_numpy(np.minimum(samples[..., 0] * (100 / largest), 100)).float()


def between(lowest: float, highest: float) -> Shown:
    return lambda samples: gray_lightness(
        ((samples[..., 0].astype(np.float64) - lowest) / (highest - lowest)).clip(0, 1), 1
    )


def picked(colormap: NDArray[np.uint16], scale: int = 257) -> Shown:
    """Through a colour map (3, n)."""
    return lambda samples: rgb_lightness(colormap.T[samples[..., 0]] // scale)


def alpha_8(samples: NDArray[Any]) -> NDArray[np.uint8]:
    return samples[..., -1].astype(np.uint8)


def tifffile_bytes(samples: NDArray[Any], order: Order = "<", **options: Any) -> bytes:
    """What tifffile writes."""
    file = BytesIO()
    tifffile.imwrite(file, samples, byteorder=order, metadata=None, **options)
    return file.getvalue()
