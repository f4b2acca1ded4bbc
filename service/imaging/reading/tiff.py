"""TIFF (Adobe TIFF 6.0, with its supplements) and BigTIFF, strip by strip, through tifffile and imagecodecs."""

import logging
from collections.abc import Iterator
from contextlib import closing
from io import BytesIO
from itertools import islice

from tifffile import COMPRESSION, EXTRASAMPLE, PHOTOMETRIC, PLANARCONFIG, TiffFile, TiffPage

from service.imaging.errors import BrokenImageError, NoSuchPageError, TooManyPixelsError, UnsupportedFormatError
from service.imaging.reading.directories import Directories
from service.imaging.reading.pillow import open_with_pillow
from service.imaging.reading.raster import Block, Raster, Space, turned
from service.imaging.reading.samples import levels_of, name_of, unread
from service.imaging.reading.strips import SELF_DESCRIBED, chunk_bytes, decoder_of, strips

_READ = {
    COMPRESSION.NONE,
    COMPRESSION.CCITTRLE,
    COMPRESSION.CCITTFAX3,
    COMPRESSION.CCITTFAX4,
    COMPRESSION.LZW,
    COMPRESSION.OJPEG,
    COMPRESSION.JPEG,
    COMPRESSION.ADOBE_DEFLATE,
    COMPRESSION.DEFLATE,
    COMPRESSION.PACKBITS,
    COMPRESSION.LZMA,
    COMPRESSION.ZSTD,
    *SELF_DESCRIBED,
}

# What the samples are, and how many of a pixel they are, alpha and other extra ones not counted.
_SPACES: dict[int, tuple[Space, int]] = {
    PHOTOMETRIC.MINISWHITE: (Space.GRAY, 1),
    PHOTOMETRIC.MINISBLACK: (Space.GRAY, 1),
    PHOTOMETRIC.RGB: (Space.RGB, 3),
    PHOTOMETRIC.PALETTE: (Space.RGB, 1),
    PHOTOMETRIC.SEPARATED: (Space.CMYK, 4),
    PHOTOMETRIC.YCBCR: (Space.RGB, 3),
    PHOTOMETRIC.CIELAB: (Space.LAB, 3),
    PHOTOMETRIC.ICCLAB: (Space.LAB, 3),
}

_PHOTOMETRIC, _ORIENTATION, _INK_SET, _S_MAX_SAMPLE_VALUE, _ICC_PROFILE = 262, 274, 332, 341, 34675
_REDUCED, _MASK = 1, 4
"""Bits of NewSubfileType."""
_CMYK = 1
"""Of InkSet."""

# It would tell of every oddity in strangers' files, on standard error.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

_BLOCK_PIXELS = 2**16
"""Handed out at a time."""


def open_tiff(data: bytes, max_pixels: int, page: int | None) -> Raster:
    """Opens a page of a TIFF: the first is 1; None: the first that is neither a thumbnail nor a mask.

    Raises:
        NoSuchPageError: There are fewer.
        UnsupportedFormatError: It is of a kind that is not read.
        TooManyPixelsError: It, or a tile of it, holds more than `max_pixels`.
        BrokenImageError: It has no page, or what it says of itself cannot be.
    """
    directories = Directories(data)
    # Closed, because pages and their file know each other, and would keep the data until somebody collects them.
    with closing(BytesIO(data)) as file:
        return _opened(data, _pages(TiffFile(file), directories.pages()), directories, max_pixels, page)


def _opened(data: bytes, pages: list[TiffPage], directories: Directories, max_pixels: int, page: int | None) -> Raster:
    if page is not None and page > len(pages):
        raise NoSuchPageError(f"The TIFF has {len(pages)} page{'s' * (len(pages) > 1)}, and no page {page}")
    number = page or next((i for i, each in enumerate(pages, 1) if not each.subfiletype & (_REDUCED | _MASK)), 1)
    chosen = pages[number - 1]
    if page is None and chosen.subfiletype & _REDUCED:
        chosen = _full_size(chosen, directories)
    raster = _open(data, chosen, max_pixels)
    raster.page, raster.pages = number, len(pages)
    raster.directory = pages[number - 1].offset  # what a thumbnail says goes for the picture below it, too
    return raster


def _pages(file: TiffFile, count: int) -> list[TiffPage]:
    pages: list[TiffPage] = []
    try:
        pages.extend(page.aspage() for page in islice(file.pages, count))
    except Exception:
        if not pages:
            raise
        # Those before the broken one are none the worse.
    if not pages:
        raise BrokenImageError("The TIFF image is damaged: it has no page")
    return pages


def _full_size(page: TiffPage, directories: Directories) -> TiffPage:
    """What a thumbnail stands for, where it has it below, as cameras and some scanners do."""
    offsets = page.subifds or ()
    for offset in offsets:
        directories.look_over(offset)
    if not offsets or page.pages is None:
        return page
    below = (sub.aspage() for sub in islice(page.pages, len(offsets)))
    return next((sub for sub in below if not sub.subfiletype & _REDUCED), page)


def _open(data: bytes, page: TiffPage, max_pixels: int) -> Raster:
    kind, compression = page.photometric, page.compression
    if kind in (PHOTOMETRIC.CFA, PHOTOMETRIC.LINEAR_RAW):
        raise UnsupportedFormatError(
            "This is a camera's raw file, which is not read here; send what it was developed to"
        )
    if compression not in _READ:
        raise unread(f"compressed with {name_of(compression)}")
    if page.tags.get(_PHOTOMETRIC) is None:
        raise unread("that does not say what its samples are (PhotometricInterpretation)")
    if kind not in _SPACES:
        raise unread(f"of the kind {name_of(kind)}")
    height, width = (page.tilelength, page.tilewidth) if page.is_tiled else (page.imagelength, page.imagewidth)
    if height * width > max_pixels:
        what = f"tiles of {width} × {height}" if page.is_tiled else f"{width} × {height}"
        raise TooManyPixelsError(f"The TIFF image declares {what} pixels; at most {max_pixels} pixels are accepted")
    if page.imagelength * page.imagewidth * height * width * page.samplesperpixel == 0:
        raise BrokenImageError("The TIFF image is damaged: it has no size")
    if page.imagedepth != 1 or (page.is_tiled and page.tiledepth != 1):
        raise unread("with a third dimension")
    separate = page.planarconfig == PLANARCONFIG.SEPARATE
    if page.is_subsampled and (separate or compression not in (COMPRESSION.JPEG, COMPRESSION.OJPEG)):
        raise unread("with chroma in fewer samples")
    if compression == COMPRESSION.OJPEG or (kind == PHOTOMETRIC.YCBCR and compression != COMPRESSION.JPEG):
        # Libtiff reads what there was before JPEG in TIFF was settled, and YCbCr without JPEG.
        return _open_with_libtiff(data, page, max_pixels)
    if page.predictor != 1 and (
        page.predictor not in (2, 3)
        or page.bitspersample not in (8, 16, 32, 64)
        or compression in {COMPRESSION.JPEG, *SELF_DESCRIBED}
    ):
        raise unread(f"of {page.bitspersample} bits with the predictor {name_of(page.predictor)}")
    space, colors = _SPACES[kind]
    extra = page.extrasamples[: page.samplesperpixel - colors]
    if page.samplesperpixel < colors or page.tags.valueof(_INK_SET, _CMYK) != _CMYK:
        raise unread(f"of the kind {name_of(kind)} with {page.samplesperpixel} samples a pixel")
    alphas = [i for i, use in enumerate(extra) if use in (EXTRASAMPLE.ASSOCALPHA, EXTRASAMPLE.UNASSALPHA)]
    if alphas and page.tags.get(_S_MAX_SAMPLE_VALUE) is not None:
        raise unread("with alpha, and a range of its samples (SMaxSampleValue)")
    if alphas and kind == PHOTOMETRIC.MINISWHITE and extra[alphas[0]] == EXTRASAMPLE.ASSOCALPHA:
        raise unread("of ink that was multiplied by alpha")
    levels, depth = levels_of(page)
    picked = [0] if space is Space.LAB else list(range(colors))
    picked += [colors + alphas[0]] if alphas else []

    decode = decoder_of(page)

    def blocks() -> Iterator[Block]:
        for top, left, samples in strips(data, page, decode):
            samples = samples[: page.imagelength - top, : page.imagewidth - left]
            if len(picked) < samples.shape[2]:
                samples = samples[..., picked]
            rows = max(1, _BLOCK_PIXELS // samples.shape[1])
            for begin in range(0, len(samples), rows):
                yield Block(top + begin, left, levels(samples[begin : begin + rows]))

    return Raster(
        "TIFF",
        page.imagewidth,
        page.imagelength,
        space,
        depth,
        blocks,
        decoder_bytes=chunk_bytes(page),
        alpha=bool(alphas),
        premultiplied=bool(alphas) and extra[alphas[0]] == EXTRASAMPLE.ASSOCALPHA,
        icc=page.tags.valueof(_ICC_PROFILE),
    )


def _open_with_libtiff(data: bytes, page: TiffPage, max_pixels: int) -> Raster:
    what = "with JPEG of the old style" if page.compression == COMPRESSION.OJPEG else "of YCbCr without JPEG"
    if page.index != 0:
        raise unread(f"{what} behind its first page")
    try:
        raster = open_with_pillow("TIFF", data, max_pixels)
    except (OSError, SyntaxError, ValueError) as error:
        raise unread(f"{what} in a way of its own") from error
    # Pillow turns these upright.
    sides = page.imagewidth, page.imagelength
    raster.orientation = 1
    if (raster.width, raster.height) != (sides[::-1] if turned(page.tags.valueof(_ORIENTATION, 1)) else sides):
        raise unread(f"{what} in a way of its own")
    inner = raster.blocks

    def blocks() -> Iterator[Block]:
        try:
            yield from inner()
        except (OSError, SyntaxError, ValueError) as error:
            # Nobody can tell the many ways in which such files were made from damage.
            raise unread(f"{what} in a way of its own or damaged") from error

    raster.blocks = blocks
    return raster
