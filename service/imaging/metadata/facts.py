"""What a photograph's file says beside its pixels."""

import hashlib
from dataclasses import dataclass

from PIL.ExifTags import Base

from service.imaging.metadata import iptc, photoshop
from service.imaging.metadata.directory import SHORT, Directory, Entry, read_directory
from service.imaging.metadata.photoshop import Resource
from service.imaging.metadata.resolution import Resolution, best
from service.imaging.metadata.xmp import Packet


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a photograph, independent of the kind of file that says it.

    `resources` are Photoshop's, the IPTC-IIM caption among them. `xmp` is a whole packet, in UTF-8. `comment` is what
    JPEG's COM segment and its like hold, of no declared encoding.
    """

    exif: Directory | None = None
    resources: tuple[Resource, ...] = ()
    xmp: bytes | None = None
    resolution: Resolution | None = None
    comment: bytes | None = None

    @property
    def iptc(self) -> bytes | None:
        """The IPTC-IIM data sets."""
        return next((found.data for found in self.resources if found.identifier == photoshop.IPTC), None)


def gathered(
    *,
    exif: bytes | Directory | None = None,
    resources: bytes | None = None,
    iim: bytes | None = None,
    xmp: bytes | Packet | None = None,
    resolution: Resolution | None = None,
    comment: bytes | None = None,
    turned: bool = False,
) -> Facts:
    """The facts in what a container holds, each part as it lies there; what is broken is left out.

    `iim` goes before the data sets in `resources`. `resolution` is the container's own. `turned`: by the container's
    own means, so that Exif's orientation is nothing to go by.
    """
    directory = exif if isinstance(exif, Directory | None) else read_directory(exif.removeprefix(b"Exif\0\0"))
    if directory is not None and turned and Base.Orientation in directory.entries:
        directory = directory.with_entries({Base.Orientation: Entry.integers(SHORT, directory.order, 1)})
    found = photoshop.read_resources(resources or b"")
    captions = (iim or b"", *(resource.data for resource in found if resource.identifier == photoshop.IPTC))
    caption = next(filter(None, map(iptc.complete, captions)), None)
    kept = [resource for resource in photoshop.descriptive(found) if resource.identifier != photoshop.IPTC]
    if caption is not None:
        digest = hashlib.md5(caption, usedforsecurity=False).digest()
        kept = [
            resource for resource in kept if resource.identifier != photoshop.IPTC_DIGEST or resource.data == digest
        ]
        kept.insert(0, Resource(photoshop.IPTC, caption))
    packet = Packet.parse(xmp) if isinstance(xmp, bytes) else xmp
    return Facts(
        exif=directory,
        resources=tuple(kept),
        xmp=None if packet is None else packet.serialized(),
        resolution=best((Resolution.of_directory(directory), resolution, photoshop.resolution_of(found))),
        comment=comment or None,
    )


def orientation(facts: Facts) -> int:
    """How the pixels are to be turned to stand upright, 1 to 8 as Exif's tag 274 has it; 1 where nothing is said.

    XMP's tiff:Orientation alone turns nothing: viewers do not heed it.
    """
    values = facts.exif.numbers(Base.Orientation) if facts.exif is not None else ()
    return int(values[0]) if values and values[0] in range(1, 9) else 1


def stripped(facts: Facts) -> Facts:
    """Nothing of the file's but its resolution."""
    return Facts(resolution=facts.resolution)
