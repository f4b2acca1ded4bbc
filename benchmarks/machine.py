"""What a figure was measured on: it means little without."""

import os
import platform
import shlex
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import torch

_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8", "amx_fp16")
_PACKAGES = ("torch", "openvino", "onnxruntime", "nncf")


def describe_machine() -> list[str]:
    """Lines: date, processor, memory, versions, and the command that measured."""
    name, flags = _processor()
    versions = [f"Python {platform.python_version()}", *(_version(package) for package in _PACKAGES)]
    return [
        datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        f"{name}, {os.cpu_count()} cores, {torch.get_num_threads()} threads used; "
        + (", ".join(flag for flag in _FLAGS if flag in flags) or "no vector flags known here"),
        ", ".join(versions),
        # sys.orig_argv keeps `-m benchmarks.network` as it was typed.
        f"`{shlex.join(('python', *sys.orig_argv[1:]))}`",
    ]


def _processor() -> tuple[str, set[str]]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine(), set()
    fields = dict(reversed([(key.strip(), value.strip()) for key, _, value in (line.partition(":") for line in lines)]))
    # Not every hypervisor tells the name.
    name = fields.get("model name", platform.machine())
    identity = ", ".join(f"{key} {fields[key]}" for key in ("vendor_id", "cpu family", "model") if key in fields)
    return f"{name} ({identity})" if identity else name, set(fields.get("flags", "").split())


def _version(package: str) -> str:
    try:
        return f"{package} {metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return f"no {package}"
