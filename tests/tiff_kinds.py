"""A TIFF of every kind that is read, with the samples that were written into it and what they mean."""

import zlib
from dataclasses import replace
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from service.imaging.metadata.directory import Order
from tests.photographs import rgb_lightness
from tests.pictures import to_bytes
from tests.tiff_codecs import compression_kinds, lzw
from tests.tiff_samples import (
    BLACK_IS_ZERO,
    CIELAB,
    HEIGHT,
    ICCLAB,
    PALETTE,
    PILLOW,
    RGB,
    RGBA_8,
    SAMPLES,
    SEPARATED,
    WHITE_IS_ZERO,
    WIDTH,
    Kind,
    Shown,
    alpha_8,
    between,
    colors,
    gray,
    ink,
    inverted,
    lab,
    noise,
    picked,
    ramp,
    tifffile_bytes,
)
from tests.tiffs import Layout, page, tiff


def bits_kinds() -> dict[str, Kind]:
    kinds = {}
    for bits in (*range(1, 17), 32, 64):
        samples = noise(bits)
        seen = (SAMPLES, RGBA_8) if bits in (1, 2, 4, 8, 16) else (SAMPLES,)
        atol = 2e-3 if bits > 16 else 0.25 if bits < 8 else 1e-3
        data = tiff(page(samples, BLACK_IS_ZERO, bits=bits))
        kinds[f"grey of {bits} bits"] = Kind(data, samples, gray(bits), seen, atol=atol)
        data = tiff(page(samples, WHITE_IS_ZERO, bits=bits))
        kinds[f"grey of {bits} bits, white is zero"] = Kind(data, samples, inverted(bits), seen, atol=atol)
    for bits in (1, 2, 4, 5, 8, 10, 12, 14, 16, 32, 64):
        samples = noise(bits, 3)
        data = tiff(page(samples, RGB, bits=bits))
        seen = (SAMPLES, RGBA_8) if bits in (8, 16) else (SAMPLES,)
        kinds[f"RGB of {bits} bits"] = Kind(data, samples, colors(bits), seen, atol=0.02 if bits > 8 else 0.25)
    return kinds


def float_kinds() -> dict[str, Kind]:
    kinds = {}
    values = (noise(16) / 65_535).astype(np.float64)
    for dtype in ("f2", "f4", "f8"):
        samples = values.astype(dtype)
        kinds[f"floats of {8 * samples.itemsize} bits"] = Kind(
            tiff(page(samples, BLACK_IS_ZERO)), samples, between(0, 1), (SAMPLES,), atol=0.02
        )
        coded = tifffile_bytes(samples[..., 0], predictor=3, compression="zlib", photometric="minisblack")
        kinds[f"floats of {8 * samples.itemsize} bits, predictor 3"] = Kind(
            coded, samples, between(0, 1), (SAMPLES,), atol=0.02
        )
    samples = values.astype(np.float32)
    packed = np.frombuffer(imagecodecs.float24_encode(samples, byteorder="<"), np.uint8)
    stored = page(packed.reshape(HEIGHT, WIDTH * 3, 1), BLACK_IS_ZERO)
    stored = replace(stored, tags={**stored.tags, 256: WIDTH, 258: 24, 339: 3})
    kinds["floats of 24 bits"] = Kind(tiff(stored), samples, between(0, 1), (), atol=0.02)
    wide = samples * 300 - 100
    limits = Layout(tags={340: -100.0, 341: 200.0})
    kinds["floats with a range"] = Kind(
        tiff(page(wide, BLACK_IS_ZERO, limits)), wide, between(-100, 200), (SAMPLES,), atol=0.02
    )
    signed = (noise(16).astype(np.int32) - 2**15).astype(np.int16)
    limits = Layout(tags={340: -(2.0**15), 341: 2.0**15 - 1})
    kinds["signed integers with a range"] = Kind(
        tiff(page(signed, BLACK_IS_ZERO, limits)), signed, between(-(2**15), 2**15 - 1), (SAMPLES,), atol=0.02
    )
    narrow = noise(12)
    kinds["12 bits in 16, and it says so"] = Kind(
        tiff(page(narrow, BLACK_IS_ZERO, Layout(tags={281: 4095}))), narrow, between(0, 4095), (SAMPLES,), atol=2e-3
    )
    return kinds


def space_kinds() -> dict[str, Kind]:
    kinds = {}
    random = np.random.default_rng(0)
    for bits in (1, 2, 4, 8, 16):
        samples = noise(bits)
        colormap = random.integers(0, 256, (3, 2**bits), np.uint16) * 257
        data = tiff(page(samples, PALETTE, Layout(tags={320: colormap.ravel().tolist()}), bits))
        seen = (RGBA_8,) if bits == 1 else (RGBA_8, SAMPLES) if bits < 16 else (SAMPLES,)
        kinds[f"palette of {bits} bits"] = Kind(data, samples, picked(colormap), seen)
    samples = noise(8)
    narrow = random.integers(0, 256, (3, 256), np.uint16)
    narrow[0, 0] = 255
    data = tiff(page(samples, PALETTE, Layout(tags={320: narrow.ravel().tolist()})))
    kinds["palette from 0 to 255"] = Kind(data, samples, picked(narrow, 1), (SAMPLES, RGBA_8))
    for bits in (8, 16):
        samples = noise(bits, 4)
        data = tiff(page(samples, SEPARATED, Layout(tags={332: 1}), bits))
        seen = (RGBA_8, PILLOW) if bits == 8 else (PILLOW,)
        kinds[f"separated, {bits} bits"] = Kind(data, samples, ink(bits), seen, atol=0.5 if bits == 8 else 0.02)
        samples = noise(bits, 3)
        data = tiff(page(samples, CIELAB, bits=bits))
        kinds[f"CIELAB of {bits} bits"] = Kind(data, samples, lab(2**bits - 1), (SAMPLES,), atol=2e-3)
        data = tiff(page(samples, ICCLAB, bits=bits))
        largest = 255 if bits == 8 else 0xFF00
        kinds[f"ICC's CIELAB of {bits} bits"] = Kind(data, samples, lab(largest), (SAMPLES,), atol=2e-3)
    samples = ramp(3)
    data = to_bytes(Image.fromarray(samples).convert("YCbCr"), "TIFF")
    kinds["YCbCr, not compressed"] = Kind(data, samples, colors(8), (RGBA_8,), atol=1.5)
    return kinds


TIFFFILE_CUTS: dict[str, dict[str, Any]] = {"strips": {"rowsperstrip": 7}, "tiles": {"tile": (16, 32)}}
ORDERS: tuple[Order, Order] = ("<", ">")


def layout_kinds() -> dict[str, Kind]:
    kinds = {}
    cuts = {
        "strips": Layout(rows=7),
        "tiles": Layout(tile=(16, 32)),
        "planes in strips": Layout(rows=7, planar=True),
        "planes in tiles": Layout(tile=(16, 32), planar=True),
    }
    for name, cut in cuts.items():
        for bits in (8, 16, 32):
            samples = noise(bits, 3)
            seen = (SAMPLES, RGBA_8) if bits < 32 else (SAMPLES,)
            kind = Kind(tiff(page(samples, RGB, cut)), samples, colors(bits), seen, atol=1e-3 if bits == 8 else 0.02)
            kinds[f"{name} of {bits} bits"] = kind
            coded = replace(cut, code=zlib.compress, tags={259: 8})
            kinds[f"{name} of {bits} bits, Deflate"] = replace(kind, data=tiff(page(samples, RGB, coded)))
        samples = noise(8, 4)
        coded = replace(cut, code=zlib.compress, tags={259: 8, 332: 1})
        kinds[f"{name}, separated"] = Kind(
            tiff(page(samples, SEPARATED, coded)), samples, ink(8), (RGBA_8, PILLOW), atol=0.5
        )
    for name, options in TIFFFILE_CUTS.items():
        for bits in (8, 16, 32):
            samples = noise(bits, 3)
            seen = (SAMPLES, RGBA_8) if bits < 32 else (SAMPLES,)
            for planar in ("contig", "separate"):
                stored = np.moveaxis(samples, 2, 0) if planar == "separate" else samples
                for order in ORDERS:
                    data = tifffile_bytes(
                        stored, order, photometric="rgb", predictor=2, compression="lzw", planarconfig=planar, **options
                    )
                    kinds[f"predictor 2 in {name}, {planar}, of {bits} bits, {order}"] = Kind(
                        data, samples, colors(bits), seen, atol=1e-3 if bits == 8 else 0.02
                    )
    for bits in (1, 4, 5, 8, 10, 12, 14, 16, 32, 64):
        samples = noise(bits)
        seen = (SAMPLES, RGBA_8) if bits in (1, 4, 8, 16) else (SAMPLES,)
        for order in ORDERS:
            for big in (False, True):
                data = tiff(page(samples, BLACK_IS_ZERO, Layout(order, rows=7), bits), order=order, big=big)
                name = f"{'BigTIFF' if big else 'TIFF'} {order} of {bits} bits"
                kinds[name] = Kind(data, samples, gray(bits), seen, atol=0.25 if bits == 5 else 2e-3)
    for bits in (1, 4, 8, 16):
        samples = noise(bits)
        for name, cut in {"": Layout(reverse=True), ", LZW": Layout(code=lzw, reverse=True, tags={259: 5})}.items():
            data = tiff(page(samples, BLACK_IS_ZERO, cut, bits))
            kinds[f"lowest bit first, {bits} bits{name}"] = Kind(data, samples, gray(bits), (SAMPLES, RGBA_8))
    return kinds


def extra_kinds() -> dict[str, Kind]:
    kinds = {}
    unspecified, premultiplied, straight = 0, 1, 2
    uses: dict[str, tuple[list[int], int | None]] = {
        "a sample of no use": ([unspecified], None),
        "alpha": ([straight], 0),
        "three more samples": ([unspecified, straight, unspecified], 1),
        "two alphas": ([straight, straight], 0),
    }
    for name, (photometric, count, shown) in {
        "grey": (BLACK_IS_ZERO, 1, gray), "RGB": (RGB, 3, colors), "separated": (SEPARATED, 4, ink)
    }.items():  # fmt: skip
        for use, (extra, alpha) in uses.items():
            for planar in (False, True):
                for bits in (8, 16):
                    samples = noise(bits, count + len(extra))
                    data = tiff(page(samples, photometric, Layout(planar=planar, tags={338: extra})))
                    seen = (SAMPLES,) if name != "separated" else (RGBA_8,) if bits == 8 and not planar else ()
                    kinds[f"{name} of {bits} bits with {use}{' in planes' * planar}"] = Kind(
                        data, samples, shown(bits), seen, None if alpha is None else samples[..., count + alpha],
                        atol=0.5 if name == "separated" else 0.02,
                    )  # fmt: skip
    for bits in (8, 16):
        samples = noise(bits, 4)
        samples[..., :3] = np.minimum(samples[..., :3], samples[..., 3:])
        data = tiff(page(samples, RGB, Layout(tags={338: premultiplied})))
        kinds[f"premultiplied, {bits} bits"] = Kind(
            data, samples, divided(bits), (SAMPLES, RGBA_8), samples[..., 3], atol=0.5 if bits == 8 else 0.02
        )
    samples = noise(8, 4)
    kinds["RGB with a fourth sample that nothing is said of"] = Kind(
        tiff(page(samples, RGB)), samples, colors(8), (SAMPLES,)
    )
    samples = noise(4, 2)
    colormap = np.random.default_rng(0).integers(0, 256, (3, 16), np.uint16) * 257
    data = tiff(page(samples, PALETTE, Layout(tags={320: colormap.ravel().tolist(), 338: straight}), 4))
    kinds["palette with alpha"] = Kind(data, samples, picked(colormap), (SAMPLES,), alpha_8(samples * 17))
    return kinds


def divided(bits: int) -> Shown:
    def shown(samples: NDArray[Any]) -> Tensor:
        alpha = samples[..., 3:].astype(np.float64)
        return rgb_lightness(np.minimum(samples[..., :3] / np.maximum(alpha, 1), 1), 1)

    return shown


KINDS = {
    **bits_kinds(), **float_kinds(), **space_kinds(), **compression_kinds(), **layout_kinds(), **extra_kinds()
}  # fmt: skip

ALONE = {
    "floats of 24 bits",
    *(f"{code} {what}" for code in ("PNG", "JPEG 2000") for what in ("in tiles", "with alpha", "of 16 bits")),
    *(
        f"separated of {bits} bits with {use}{where}"
        for use in ("a sample of no use", "alpha", "three more samples", "two alphas")
        for bits, where in ((16, ""), (8, " in planes"), (16, " in planes"))
    ),
}
"""Those that no other decoder among the dependencies reads."""
