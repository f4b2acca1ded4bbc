"""Archives of named arrays (.npz) that are whole or not there."""

import os
import zlib
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

Arrays = dict[str, npt.NDArray[Any]]


def write_archive(file: Path, arrays: Arrays) -> None:
    """Writes the arrays; a file that was there before is replaced only by a whole new one."""
    partial = file.with_name(f"{file.name}.partial")
    with partial.open("wb") as stream:
        # The stubs take any keyword for `allow_pickle`.
        np.savez(stream, **arrays)  # type: ignore[arg-type]
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(file)


def read_archive(file: Path) -> Arrays:
    """Reads what `write_archive` wrote; the file cannot run code.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no archive, or a damaged one.
    """
    try:
        with file.open("rb") as stream, np.load(stream) as archive:
            return dict(archive.items())
    except (BadZipFile, EOFError, TypeError, zlib.error) as error:
        raise ValueError(f"{file} is damaged: {error}") from error
