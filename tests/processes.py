"""Other processes: a port for them, and what they hear."""

import re
import socket
from pathlib import Path
from signal import Signals


def free_port() -> int:
    """A port nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def catches(pid: int, signal: Signals) -> bool:
    """Whether a process of this Linux has a handler of its own for a signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    (mask,) = re.findall(r"^SigCgt:\s+(\w+)$", status, re.MULTILINE)
    return bool(int(mask, 16) >> (signal - 1) & 1)
