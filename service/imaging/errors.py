"""What can be wrong with a client's image.

    ImageError
    ├── UnsupportedFormatError   not a kind of image we read         (HTTP 415)
    ├── TooManyPixelsError       larger than we decode, or can write (HTTP 413)
    ├── NoSuchPageError          the file has fewer pages            (HTTP 422)
    └── BrokenImageError         one of ours, but damaged            (HTTP 422)

The messages are shown to clients.
"""


class ImageError(Exception):
    """The root of all that can be wrong with a client's image; its text may be shown to the client."""


class UnsupportedFormatError(ImageError):
    """The bytes are no image format, or a pixel type, that is read here."""


class TooManyPixelsError(ImageError):
    """The header declares more pixels than may be decoded, or a side is longer than the output format allows."""


class NoSuchPageError(ImageError):
    """The file has no page of that number."""


class BrokenImageError(ImageError):
    """The bytes begin like an image that is read here, but cannot be decoded to the end."""
