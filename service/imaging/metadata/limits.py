"""How much of a file is read as facts: files come from strangers, and what is read is held and written again."""

LONGEST = 2**22
"""Bytes of all values of a TIFF structure together, of Photoshop's resources, of a text of PNG once it is unpacked.
Makers' notes, the largest that are met with, take up to a quarter."""

MOST = 10_000
"""Segments, boxes, data sets and the like, one after the other: photographs have a hundred at most."""
