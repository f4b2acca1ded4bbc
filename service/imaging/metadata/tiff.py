"""TIFF 6.0: the directory of a page is itself where its facts are."""

from dataclasses import replace

import numpy as np
from PIL.ExifTags import Base

from service.imaging.metadata import photoshop
from service.imaging.metadata.directory import BYTE, UNDEFINED, Directory, Entry, read_directory, read_values
from service.imaging.metadata.facts import Facts, gathered
from service.imaging.metadata.mapping import comment_into_exif
from service.imaging.metadata.photoshop import resource_block

_EMBEDDED = (Base.XMLPacket, Base.IPTCNAA, Base.ImageResources)


def read_tiff(data: bytes, directory_offset: int | None = None) -> Facts:
    """The facts of the page whose directory is at an offset; None: the first page's."""
    xmp, iim, resources = read_values(data, directory_offset, _EMBEDDED)
    return gathered(
        exif=read_directory(data, directory_offset),
        resources=resources,
        iim=None if iim is None else _in_bytes(iim),
        xmp=xmp,
    )


def _in_bytes(iim: bytes) -> bytes:
    """Data sets begin with 0x1C; libtiff and others declare them as LONG and swap them as if they were integers."""
    if iim[:1] == b"\x1c" or iim[3:4] != b"\x1c":
        return iim
    return np.frombuffer(iim[: len(iim) // 4 * 4], "u4").byteswap().tobytes()


def tiff_entries(facts: Facts) -> Directory:
    """What belongs into the first directory of a little-endian TIFF beside the tags that describe its pixels.

    The children are Exif's directories; whoever writes the file lays them down and puts their offsets at their tags.
    """
    directory = comment_into_exif(facts).in_order("<")
    if facts.resolution is not None:
        directory = facts.resolution.written_into(directory)
    values = {}
    if facts.xmp is not None:
        values[int(Base.XMLPacket)] = Entry(BYTE, len(facts.xmp), facts.xmp)
    if facts.iptc is not None:
        values[int(Base.IPTCNAA)] = Entry(UNDEFINED, len(facts.iptc), facts.iptc)
    rest = [resource for resource in facts.resources if resource.identifier != photoshop.IPTC]
    if rest:
        block = resource_block(rest)
        values[int(Base.ImageResources)] = Entry(BYTE, len(block), block)
    return replace(directory, entries={**directory.entries, **values})
