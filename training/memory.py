"""What the process keeps of the memory it no longer needs."""

import ctypes
import sys

_M_MMAP_THRESHOLD = -3  # <malloc.h>
_THRESHOLD_BYTES = 4 * 1024 * 1024


def return_freed_tensors() -> None:
    """Makes glibc give the memory of every tensor above 4 MiB back as soon as it is freed.

    Left alone it raises that threshold to 32 MiB as such tensors come and go, keeps them in a heap, and the heap
    crumbles. Lower thresholds save a little more and cost speed: mapping memory anew is not free. Does nothing where
    the C library is another one.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, _THRESHOLD_BYTES)
