"""Listening to a run in a process of its own."""

import os
import subprocess
import threading


def read_until(process: subprocess.Popen[bytes], text: bytes) -> None:
    """Reads a process's standard error up to a text; then goes on reading it, so that the pipe cannot fill up."""
    assert process.stderr is not None
    heard = b""
    while text not in heard:
        piece = os.read(process.stderr.fileno(), 1024)
        assert piece, heard.decode()  # or it has died
        heard += piece
    threading.Thread(target=process.stderr.read, daemon=True).start()
