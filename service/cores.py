"""How many cores this process may really use."""

import math
import os
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def count_cores(quota_file: Path = _QUOTA) -> int:
    """Cores of the process's affinity, or of its container's share of time where that is less.

    A container that may use two of 64 cores still sees all 64; a thread for each would only get it throttled.
    Linux's control groups, version 2: "quota period" in microseconds, or "max period".
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = quota_file.read_text().split()
        return min(cores, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):  # no such file, or no limit
        return cores
