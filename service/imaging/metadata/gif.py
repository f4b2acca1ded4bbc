"""GIF89a's extensions that hold facts: the comment, and XMP as part 3 of its specification puts it there."""

from collections.abc import Iterator

from service.imaging.metadata.facts import Facts, gathered
from service.imaging.metadata.limits import MOST

_EXTENSION, _APPLICATION, _COMMENT = 0x21, 0xFF, 0xFE

_XMP = b"\x0bXMP DataXMP"

_MAGIC = b"\x01" + bytes(range(255, -1, -1)) + b"\0"
"""Behind the packet, which is no chain of blocks: these lead readers who do not know that to its end."""


def read_gif(data: bytes) -> Facts:
    """The facts of a GIF file, as far as they stand before its first picture."""
    xmp: bytes | None = None
    comment: bytes | None = None
    at = 13
    if len(data) > at and data[10] & 0x80:
        at += 3 << (data[10] & 7) + 1
    blocks = 0
    while at + 2 < len(data) and data[at] == _EXTENSION and blocks < MOST:
        label = data[at + 1]
        at += 2
        if label == _APPLICATION and data[at : at + len(_XMP)] == _XMP:
            begin = at + len(_XMP)
            end = data.find(_MAGIC, begin)
            if end < 0:
                break
            xmp = xmp or data[begin:end]
            at = end + len(_MAGIC)
            blocks += 1
            continue
        chain = list(_chain(data, at, MOST - blocks))
        blocks += 1 + len(chain)
        if label == _COMMENT:
            comment = comment or b"".join(chain)
        at += sum(1 + len(block) for block in chain) + 1
    return gathered(xmp=xmp, comment=comment)


def _chain(data: bytes, at: int, most: int) -> Iterator[bytes]:
    """The blocks from here to the empty one that ends them."""
    for _ in range(most):
        if at >= len(data) or not data[at]:
            return
        yield data[at + 1 : at + 1 + data[at]]
        at += 1 + data[at]
