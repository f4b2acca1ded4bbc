"""Photographs as they are read, and the lightness that they should have."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from service.imaging.color import gray_to_lightness, rgb_to_lightness
from service.imaging.photograph import Original, Photograph, inspect

MAX_PIXELS = 1_000_000

UPRIGHT: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).T,
    8: np.rot90,
}
"""How a stored picture is shown under each EXIF orientation."""


def opened(data: bytes | bytearray, page: int | None = None) -> Original:
    """A file of at most `MAX_PIXELS`."""
    return inspect(bytes(data), MAX_PIXELS, page)


def read(data: bytes | bytearray, page: int | None = None) -> Photograph:
    """What is in a file."""
    return opened(data, page).decode()


def gray_lightness(gray: NDArray[Any], largest: float = 255) -> Tensor:
    """Grey from 0 to `largest` (H, W) → L*."""
    return gray_to_lightness(torch.from_numpy((gray / largest).astype(np.float32)))


def rgb_lightness(rgb: NDArray[Any], largest: float = 255) -> Tensor:
    """RGB from 0 to `largest` (H, W, 3) → L*."""
    planes = np.moveaxis(rgb / largest, 2, 0).astype(np.float32)
    return rgb_to_lightness(torch.from_numpy(np.ascontiguousarray(planes)))[0]


def assert_lightness(photograph: Photograph, expected: Tensor, atol: float = 1e-3) -> None:
    torch.testing.assert_close(photograph.lightness, expected, rtol=0, atol=atol)


def assert_alpha(photograph: Photograph, expected: NDArray[Any]) -> None:
    assert photograph.alpha is not None
    assert photograph.alpha.numpy().dtype == expected.dtype
    assert photograph.alpha.tolist() == expected.tolist()
