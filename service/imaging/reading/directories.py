"""A TIFF's directories, looked over before anything reads their values (TIFF 6.0, section 2, and BigTIFF)."""

import struct

from service.imaging.errors import UnsupportedFormatError

_MOST_VALUES = 2**20
"""Of an entry that is neither bytes nor text: strips, for the most part. Each becomes an object of Python's."""

_MOST_PAGES = 4096
"""Looked at."""

_SHARED = 4
"""So many times as large as the file directories and their values may be: few programs store a value only once for
several pages."""

_BYTES = {1, 2, 6, 7}
"""Types of entries that are read at once: BYTE, ASCII, SBYTE and UNDEFINED."""

_SIZES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


class Directories:
    """Those of a file: what reading them takes is bounded by a constant times the file's size."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._left = _SHARED * len(data)
        order = "<" if data[:2] == b"II" else ">"
        self._big = data[2:4] in (b"+\0", b"\0+")
        self._word = struct.Struct(order + ("Q" if self._big else "I"))
        self._counter = struct.Struct(order + ("Q" if self._big else "H"))
        self._entry = struct.Struct(order + ("HHQ8x" if self._big else "HHI4x"))

    def pages(self) -> int:
        """How many there are, one after the other, up to one that is broken or was there before.

        Raises:
            struct.error: The first is not in the file.
            UnsupportedFormatError: See `look_over`.
        """
        (place,) = self._word.unpack_from(self._data, 8 if self._big else 4)
        seen: set[int] = set()
        while place and place not in seen and len(seen) < _MOST_PAGES:
            try:
                following = self.look_over(place)
            except struct.error:
                if not seen:
                    raise
                break
            seen.add(place)
            place = following
        return len(seen)

    def look_over(self, place: int) -> int:
        """Checks the directory there; where the next one is, 0 if there is none.

        Raises:
            struct.error: There is none.
            UnsupportedFormatError: It has more values than are worth reading, or all have more than the file can hold.
        """
        if place >= len(self._data):
            raise struct.error
        (count,) = self._counter.unpack_from(self._data, place)
        begin = place + self._counter.size
        end = begin + count * self._entry.size
        for at in range(begin, min(end, len(self._data) - self._entry.size + 1), self._entry.size):
            tag, kind, values = self._entry.unpack_from(self._data, at)
            if kind not in _BYTES and values > _MOST_VALUES:
                raise UnsupportedFormatError(
                    f"The TIFF has {values} values in entry {tag}; at most {_MOST_VALUES} are read"
                )
            self._left -= self._entry.size + min(values * _SIZES.get(kind, 1), len(self._data))
            if self._left < 0:
                raise UnsupportedFormatError("The TIFF has directories that are larger than the file")
        return int(self._word.unpack_from(self._data, end)[0]) if end + self._word.size <= len(self._data) else 0
