import subprocess
import sys

import pytest

# In a process of its own: a heap that has grown before serves tensors from what is free in it.
PROGRAM = """
import torch
from training.memory import return_freed_tensors

def resident_bytes():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096

return_freed_tensors()
before = resident_bytes()
tensors = [torch.ones(2 * 1024 * 1024) for _ in range(16)]  # 8 MiB each
assert resident_bytes() > before + 100 * 1024 * 1024
del tensors[:15]  # the last one would hold a heap open
assert resident_bytes() < before + 20 * 1024 * 1024, (before, resident_bytes())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's business")
def test_freed_tensors_are_given_back() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, timeout=60)
