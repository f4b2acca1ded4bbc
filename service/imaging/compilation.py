"""Loops over pixels that numba compiles: when they are first called, or all of them before, beside other work."""

import threading
from collections.abc import Callable
from typing import Any

from numba import njit

_ALL: "list[Compiled]" = []


class Compiled:
    """A function compiled for given types; it may be called from any thread, and releases the interpreter lock."""

    def __init__(self, function: Callable[..., None], signatures: list[Any]) -> None:
        """See `compiled`."""
        self._function = function
        self._signatures = signatures
        self._compiled: Callable[..., None] | None = None
        self._lock = threading.Lock()
        _ALL.append(self)

    def __call__(self, *arguments: Any) -> None:
        """Calls it."""
        (self._compiled or self.compile())(*arguments)

    def compile(self) -> Callable[..., None]:
        """Compiles it, if that was not done before."""
        with self._lock:
            if self._compiled is None:
                self._compiled = njit(self._signatures, nogil=True)(self._function)
            return self._compiled


def compiled(*signatures: Any) -> Callable[[Callable[..., None]], Compiled]:
    """A decorator: the function is compiled for these numba signatures.

    Not as numba does it, where the module is imported: that takes some five seconds, of one core.
    """
    return lambda function: Compiled(function, list(signatures))


def compile_all() -> None:
    """Compiles what was imported so far and was not called yet."""
    for function in _ALL:
        function.compile()
