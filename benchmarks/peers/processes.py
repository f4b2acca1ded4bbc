"""A server's processes, from /proc: what they cost, and their end.

A server's own figure for its process says nothing of the workers that LitServe, BentoML and Ray start beside it.
"""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class _Process:
    parent: int
    zombie: bool
    started: int
    cpu_s: float
    rss_bytes: int


class ProcessTree:
    """A process and all that descend from it, those included whose parents have ended since they were first seen."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._seen: dict[int, int] = {}
        """Process → when it started: numbers are given out again."""

    def cpu_s(self) -> float:
        """User and system time of the processes that live, so far."""
        return sum(process.cpu_s for process in self._processes().values())

    def rss_bytes(self) -> int:
        """Resident memory; pages that processes share count in each of them."""
        return sum(process.rss_bytes for process in self._processes().values())

    def end(self, patience_s: float) -> None:
        """Asks the root to leave, as Ctrl-C does, and kills what is still there after so many seconds."""
        if self._root in self._processes():
            os.kill(self._root, signal.SIGINT)
        end = time.monotonic() + patience_s
        while (left := self._processes()) and time.monotonic() < end:
            time.sleep(0.1)
        while left:
            for process in left:
                try:
                    os.kill(process, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.1)
            left = self._processes()

    def _processes(self) -> dict[int, _Process]:
        everyone = {int(path.name): _read(path) for path in Path("/proc").iterdir() if path.name.isdigit()}
        alive = {pid: process for pid, process in everyone.items() if process is not None and not process.zombie}
        found = {pid for pid, started in self._seen.items() if pid in alive and alive[pid].started == started}
        if self._root in alive and self._seen.get(self._root, alive[self._root].started) == alive[self._root].started:
            found.add(self._root)
        while True:
            children = {pid for pid, process in alive.items() if process.parent in found} - found
            if not children:
                break
            found |= children
        self._seen |= {pid: alive[pid].started for pid in found}
        return {pid: alive[pid] for pid in found}


def _read(path: Path) -> _Process | None:
    try:
        # After the name, which may hold anything, the fields of proc(5) from the third on.
        fields = (path / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None  # it has ended meanwhile
    return _Process(
        parent=int(fields[1]),
        zombie=fields[0] in "ZX",
        started=int(fields[19]),
        cpu_s=(int(fields[11]) + int(fields[12])) / _TICKS,
        rss_bytes=int(fields[21]) * _PAGE,
    )
