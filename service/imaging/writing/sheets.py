"""What a picture is written on: pixels are put on it in bands, by several threads at once, and it ends as a file."""

import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass
from io import BytesIO
from mmap import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MOST_BAND_BYTES = 2**30
"""Of pixels: no length of what a band becomes then passes 2³¹ − 1, the most that a chunk of PNG may have."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A picture's size, what its pixels are made of, and how it is cut into bands.

    `channels` are grey, grey and alpha, RGB, or RGB and alpha (1 to 4); alpha is not multiplied into the others.
    `depth` is 8 or 16, bits of each channel of a pixel: bands are uint8 or uint16. `rows` are those of a band; the last
    one may have fewer.

    Raises:
        ValueError: one of them is none of these, or a band is larger than 1 GiB.
    """

    width: int
    height: int
    channels: int
    depth: int
    rows: int

    def __post_init__(self) -> None:
        if min(self.width, self.height, self.rows) < 1 or self.channels not in range(1, 5) or self.depth not in (8, 16):
            raise ValueError(f"{self} is no layout of a picture")
        if self.row_bytes * self.rows > _MOST_BAND_BYTES:
            raise ValueError(f"the bands of {self} are too large")

    @property
    def transparent(self) -> bool:
        """Whether the last channel is alpha."""
        return self.channels in (2, 4)

    @property
    def bands(self) -> int:
        """How many bands there are."""
        return -(-self.height // self.rows)

    @property
    def row_bytes(self) -> int:
        """Bytes in a row of pixels."""
        return self.width * self.channels * self.depth // 8

    def check(self, index: int, pixels: NDArray[Any]) -> None:
        """Raises ValueError where these are not the pixels of a band with this index."""
        if not 0 <= index < self.bands:
            raise ValueError(f"there is no band {index} of {self.bands}")
        shape = min(self.rows, self.height - index * self.rows), self.width, self.channels
        if pixels.shape != shape or pixels.dtype != np.dtype(f"u{self.depth // 8}"):
            raise ValueError(f"band {index} is {pixels.dtype} {pixels.shape}, not {self.depth} bits {shape}")


class Sheet(ABC):
    """A picture on its way to becoming a file."""

    def __init__(self, layout: Layout) -> None:
        """An empty one."""
        self.layout = layout
        self._lock = threading.Lock()
        self._awaited = set(range(layout.bands))
        self._missing = layout.bands
        self._finished = False

    def put(self, index: int, pixels: NDArray[Any]) -> None:
        """Puts a band's pixels, (rows, W, channels), on the sheet; they may change afterwards.

        Several threads may do so at the same time, in any order. The same pixels give the same file, whichever thread
        puts which band when.

        Raises:
            ValueError: there is no such band, it was put before, or the pixels are not as `Layout` has them.
        """
        self.layout.check(index, pixels)
        with self._lock:
            if index not in self._awaited:
                raise ValueError(f"band {index} was put before")
            self._awaited.remove(index)
        self._take(index, pixels)
        with self._lock:
            self._missing -= 1

    def finish(self) -> memoryview:
        """The file, once every band is put; to be called once.

        Raises:
            ValueError: a band is missing, or the file was finished before.
        """
        with self._lock:
            if self._missing:
                raise ValueError(f"{self._missing} of {self.layout.bands} bands are missing")
            if self._finished:
                raise ValueError("the file was finished before")
            self._finished = True
        return self._complete()

    @abstractmethod
    def _take(self, index: int, pixels: NDArray[Any]) -> None:
        """Does with a band what can be done with it alone; called by several threads at a time."""

    @abstractmethod
    def _complete(self) -> memoryview:
        """The file of all bands."""


class BandedSheet(Sheet):
    """A sheet on which each band becomes bytes by itself, in the thread that puts it.

    The bytes go into the file as soon as those of all bands before are there. So no more is held in memory than the
    file and the bands that are ahead of their turn.
    """

    def __init__(self, layout: Layout, head: bytes) -> None:
        """A file that begins with `head`, before the bands' own bytes."""
        super().__init__(layout)
        self._file = BytesIO()
        self._file.write(head)
        self._ahead: dict[int, mmap] = {}
        self._next = 0

    def _take(self, index: int, pixels: NDArray[Any]) -> None:
        encoded = self._encode(index, pixels)
        with self._lock:
            if index > self._next:
                # On pages of its own: the heap would not give them back before what was put after them.
                self._ahead[index] = mmap(-1, len(encoded))
                self._ahead[index].write(encoded)
                return
            self._file.write(encoded)
            self._next += 1
            while (ahead := self._ahead.pop(self._next, None)) is not None:
                with ahead:
                    self._file.write(ahead)
                self._next += 1

    def _complete(self) -> memoryview:
        self._end(self._file)
        return self._file.getbuffer()

    @abstractmethod
    def _encode(self, index: int, pixels: NDArray[Any]) -> bytes:
        """A band's part of the file; called by several threads at a time."""

    @abstractmethod
    def _end(self, file: BytesIO) -> None:
        """Completes the file, which holds the head and all bands; it is open at its end."""
