"""OpenVINO without its reports: import it from here.

Merely imported, it sends an event to a statistics server on the internet, unless the package that would do so cannot be
imported: then it takes a stub of its own. A machine's photographs are nobody else's business, nor is their number.
"""

import sys
from typing import Any

_modules: dict[str, Any] = sys.modules
_modules.setdefault("openvino_telemetry", None)

import openvino  # noqa: E402
from openvino.frontend import FrontEndManager  # noqa: E402
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder  # noqa: E402

__all__ = ["FrontEndManager", "TorchScriptPythonDecoder", "openvino"]
