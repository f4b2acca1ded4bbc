"""A TIFF of every compression that is read."""

import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.pictures import to_bytes
from tests.tiff_samples import (
    BLACK_IS_ZERO,
    HEIGHT,
    PILLOW,
    RGB,
    RGBA_8,
    SAMPLES,
    WIDTH,
    YCBCR,
    Kind,
    alpha_8,
    colors,
    gray,
    ink,
    noise,
    ramp,
    tifffile_bytes,
)
from tests.tiffs import Layout, Page, Value, page, tiff


def compression_kinds() -> dict[str, Kind]:
    kinds = {}
    both = (SAMPLES, RGBA_8)
    samples = noise(1)
    image = Image.fromarray(samples[..., 0].astype(bool))
    for name, option in {"CCITT RLE": "tiff_ccitt", "CCITT G3": "group3", "CCITT G4": "group4"}.items():
        kinds[name] = Kind(to_bytes(image, "TIFF", compression=option), samples, gray(1), both)
        kinds[f"{name}, lowest bit first"] = Kind(
            to_bytes(image, "TIFF", compression=option, tiffinfo={266: 2}), samples, gray(1), both
        )
    kinds["CCITT G3 in two dimensions"] = Kind(
        to_bytes(image, "TIFF", compression="group3", tiffinfo={292: 1}), samples, gray(1), both
    )
    samples = noise(8)
    codes: dict[str, tuple[int, Callable[[bytes], bytes], tuple[str, ...]]] = {
        "LZW": (5, lambda data: bytes(imagecodecs.lzw_encode(data)), both),
        "Deflate": (8, zlib.compress, both),
        "Deflate under its old number": (32946, zlib.compress, both),
        "PackBits": (32773, lambda data: bytes(imagecodecs.packbits_encode(data)), both),
        "LZMA": (34925, lambda data: bytes(imagecodecs.lzma_encode(data)), both),
        "ZSTD": (50000, lambda data: bytes(imagecodecs.zstd_encode(data)), both),
    }
    for name, (number, code, seen) in codes.items():
        layout = Layout(rows=7, code=code, tags={259: number})
        kinds[name] = Kind(tiff(page(samples, BLACK_IS_ZERO, layout)), samples, gray(8), seen)
    samples = noise(16, 3)
    layout = Layout(order=">", rows=7, code=zlib.compress, tags={259: 8})
    kinds["Deflate of RGB in 16 bits"] = Kind(
        tiff(page(samples, RGB, layout), order=">"), samples, colors(16), both, atol=0.02
    )
    samples = noise(4)
    layout = Layout(rows=7, code=codes["LZW"][1], tags={259: 5})
    kinds["LZW of 4 bits"] = Kind(tiff(page(samples, BLACK_IS_ZERO, layout, 4)), samples, gray(4), both)
    return kinds | image_compression_kinds()


def image_compression_kinds() -> dict[str, Kind]:
    kinds = {}
    both = (SAMPLES, RGBA_8)
    lossless: dict[str, dict[str, Any]] = {
        "PNG": {"compression": "png"},
        "WebP": {"compression": "webp", "compressionargs": {"lossless": True}},
        "JPEG 2000": {"compression": "jpeg2000", "compressionargs": {"reversible": True, "level": 0}},
    }
    for name, options in lossless.items():
        samples = noise(8, 3)
        data = tifffile_bytes(samples, photometric="rgb", tile=(16, 32), **options)
        kinds[f"{name} in tiles"] = Kind(data, samples, colors(8), both if name == "WebP" else ())
        samples = noise(8, 4)
        data = tifffile_bytes(samples, photometric="rgb", rowsperstrip=16, extrasamples=["unassalpha"], **options)
        seen = (SAMPLES,) if name == "WebP" else ()
        kinds[f"{name} with alpha"] = Kind(data, samples, colors(8), seen, alpha_8(samples))
        if name != "WebP":
            samples = noise(16)
            data = tifffile_bytes(samples[..., 0], photometric="minisblack", tile=(16, 32), **options)
            kinds[f"{name} of 16 bits"] = Kind(data, samples, gray(16), (), atol=2e-3)
    samples = ramp(3)
    for name, sampling in {"4:4:4": [1, 1], "4:2:2": [2, 1], "4:2:0": [2, 2]}.items():
        for where, cut in {"strips": Layout(rows=16), "tiles": Layout(tile=(32, 32))}.items():
            data = tiff(jpeg_page(samples, name, sampling, cut))
            kinds[f"JPEG {name} in {where}"] = Kind(data, samples, colors(8), both, atol=3)
    data = tifffile_bytes(
        samples, photometric="rgb", compression="jpeg", compressionargs={"level": 98}, rowsperstrip=16
    )
    kinds["JPEG of RGB"] = Kind(data, samples, colors(8), both, atol=3)
    gray_ramp = samples[..., :1]
    data = tifffile_bytes(
        gray_ramp[..., 0], photometric="minisblack", compression="jpeg", compressionargs={"level": 98}
    )
    kinds["JPEG of grey"] = Kind(data, gray_ramp, gray(8), both, atol=1.5)
    image = Image.fromarray(samples)
    data = to_bytes(image, "TIFF", compression="jpeg", quality=98)
    kinds["JPEG with tables of its own"] = Kind(data, samples, colors(8), both, atol=3)
    data = to_bytes(image.convert("CMYK"), "TIFF", compression="jpeg", quality=98)
    inks = np.asarray(image.convert("CMYK"))
    kinds["JPEG of CMYK"] = Kind(data, inks, ink(8), (RGBA_8, PILLOW), atol=3)
    coded = to_bytes(image, "JPEG", quality=98, subsampling="4:2:0")
    kinds["JPEG of the old style"] = Kind(old_jpeg(coded), samples, colors(8), (PILLOW, RGBA_8), atol=3)
    return kinds


def jpeg_page(rgb: NDArray[np.uint8], name: str, sampling: list[int], cut: Layout) -> Page:
    """Each strip or tile as a JPEG of its own, as TIFF Technical Note 2 has it."""
    plain = page(rgb, YCBCR, cut)
    width = cut.tile[1] if cut.tile is not None else WIDTH
    chunks = []
    for chunk in plain.chunks:
        image = Image.fromarray(np.frombuffer(chunk, np.uint8).reshape(-1, width, 3))
        chunks.append(to_bytes(image, "JPEG", quality=98, subsampling=name))
    return replace(plain, tags={**plain.tags, 259: 7, 530: sampling}, chunks=chunks)


def old_jpeg(data: bytes) -> bytes:
    """A whole JPEG where TIFF 6.0, section 22, had it: JPEGInterchangeFormat."""
    tags: dict[int, Value] = {
        256: WIDTH, 257: HEIGHT, 258: [8, 8, 8], 259: 6, 262: YCBCR, 277: 3, 278: HEIGHT, 512: 1, 530: [2, 2],
        514: len(data),
    }  # fmt: skip
    # Its offset is that of the only strip, which is laid down first, behind the header.
    return tiff(Page({**tags, 513: 8}, [data]))


def lzw(data: bytes) -> bytes:
    return bytes(imagecodecs.lzw_encode(data))
