"""JPEG, WebP and AVIF: Pillow writes them from the whole picture, in 8 bits a channel."""

import mmap
import os
from abc import abstractmethod
from io import BytesIO
from typing import Any, BinaryIO

from numpy.typing import NDArray
from PIL import Image

from service.imaging.writing.sheets import Layout, Sheet

_AVIF_SPEED = 9
"""Of 0 to 10: eight times as fast as Pillow's default, 6, for a file 4 % larger; 10 does the same as 9."""


class RasterSheet(Sheet):
    """A sheet on which bands are gathered, to become a file at the end."""

    _keeps_alpha = True

    def __init__(self, layout: Layout, quality: int, icc_profile: bytes | None = None) -> None:
        """`quality` is from 1 to 100.

        Raises:
            ValueError: the layout is not of RGB, with alpha or without, in 8 bits.
        """
        if layout.depth != 8 or layout.channels < 3:
            raise ValueError(f"only RGB in 8 bits is written here, not {layout}")
        super().__init__(layout)
        self._quality = quality
        self._icc_profile = icc_profile
        self._blended = layout.transparent and not self._keeps_alpha
        mode = "RGBA" if layout.transparent and self._keeps_alpha else "RGB"
        self._image = Image.new(mode, (layout.width, layout.height), "white")

    def _take(self, index: int, pixels: NDArray[Any]) -> None:
        band = Image.fromarray(pixels)
        self._image.paste(band, (0, index * self.layout.rows), band if self._blended else None)

    def _complete(self) -> memoryview:
        # Into a real file Pillow writes a JPEG without the interpreter lock; into any other it holds the lock until the
        # last byte is written, and everybody else waits. Not every Python can make a file in memory.
        if not hasattr(os, "memfd_create"):
            buffer = BytesIO()
            self._save(self._image, buffer)
            self._image.close()
            return buffer.getbuffer()
        with os.fdopen(os.memfd_create("photograph"), "w+b") as file:
            self._save(self._image, file)
            self._image.close()
            file.flush()
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

    @abstractmethod
    def _save(self, image: Image.Image, file: BinaryIO) -> None:
        """Writes the picture."""


class JpegSheet(RasterSheet):
    """A JPEG file (ITU-T T.81), of RGB. It knows no alpha: the picture is blended over white, as paper would show it.

    Chroma is kept at full resolution, because chroma is what we add: Pillow's default would halve it again.
    """

    _keeps_alpha = False

    def __init__(
        self,
        layout: Layout,
        quality: int,
        icc_profile: bytes | None = None,
        segments: bytes = b"",
        dpi: tuple[int, int] | None = None,
    ) -> None:
        """`segments` are further ones, such as APP1 with Exif, each with its marker and length; `dpi` is JFIF's."""
        super().__init__(layout, quality, icc_profile)
        self._segments = segments
        self._dpi = dpi

    def _save(self, image: Image.Image, file: BinaryIO) -> None:
        image.save(
            file,
            "JPEG",
            quality=self._quality,
            subsampling="4:4:4",
            icc_profile=self._icc_profile,
            extra=self._segments,
            **({} if self._dpi is None else {"dpi": self._dpi}),
        )


class WebpSheet(RasterSheet):
    """A WebP file (RFC 9649), lossy but for its alpha."""

    def __init__(
        self, layout: Layout, quality: int, icc_profile: bytes | None = None, exif: bytes = b"", xmp: bytes = b""
    ) -> None:
        """`exif` is a TIFF structure, `xmp` a packet; empty, they are not written."""
        super().__init__(layout, quality, icc_profile)
        self._exif = exif
        self._xmp = xmp

    def _save(self, image: Image.Image, file: BinaryIO) -> None:
        image.save(file, "WEBP", quality=self._quality, icc_profile=self._icc_profile, exif=self._exif, xmp=self._xmp)


class AvifSheet(WebpSheet):
    """An AVIF file (AOMedia, AV1 Image File Format), its chroma at full resolution.

    At `quality` 85 to 95 it looks like a JPEG file of the same, below better. One thread, the caller's, makes it.
    """

    def _save(self, image: Image.Image, file: BinaryIO) -> None:
        image.save(
            file,
            "AVIF",
            quality=self._quality,
            subsampling="4:4:4",
            speed=_AVIF_SPEED,
            max_threads=1,
            icc_profile=self._icc_profile,
            exif=self._exif,
            xmp=self._xmp,
        )
