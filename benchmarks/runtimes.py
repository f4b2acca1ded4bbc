"""The paths of ONNX Runtime and OpenVINO, each as its documentation has it, and the service's own."""

import io
import os
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path as FilePath
from typing import Any, Literal

import onnx
import onnxruntime
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from torch import Tensor, nn

from benchmarks.paths import Build, Path, Runner, Served, example
from service.network.colorizer import Colorizer
from service.network.compiled import CompiledColorizer
from service.network.openvino_runtime import openvino

Precision = Literal["auto", "float32"]

_INPUT = "lightness"

_ONLY_ERRORS = 3


def _onnx(colorizer: Colorizer, _calibration: Tensor, _sizes: Sequence[int]) -> Runner:
    return _session(_export(colorizer), "float32")


def _onnx_int8(colorizer: Colorizer, calibration: Tensor, _sizes: Sequence[int]) -> Runner:
    with tempfile.TemporaryDirectory() as folder, quietly():
        file = FilePath(folder) / "int8.onnx"
        quantize_static(
            onnx.load_from_string(_export(colorizer)),
            file,
            _CalibrationReader(calibration),
            quant_format=QuantFormat.QDQ,
            # What its documentation asks for on processors with VNNI or AMX.
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
        )
        return _session(file.read_bytes(), "int8, transposed convolutions float32")


class _CalibrationReader(CalibrationDataReader):  # type: ignore[misc]
    """Photographs in the form in which ONNX Runtime asks for them."""

    def __init__(self, calibration: Tensor) -> None:
        self._photographs = iter(calibration[:, None])

    def get_next(self) -> dict[str, Any] | None:
        photograph = next(self._photographs, None)
        return None if photograph is None else {_INPUT: photograph.numpy()}


def _export(colorizer: Colorizer) -> bytes:
    file = io.BytesIO()
    with quietly():
        # The exporter on top of torch.export wants another package, onnxscript.
        torch.onnx.export(
            Served(colorizer),
            (example(2),),
            file,  # type: ignore[arg-type]
            dynamo=False,
            input_names=[_INPUT],
            dynamic_axes={_INPUT: {0: "batch"}},
        )
    return file.getvalue()


def _session(model: bytes, precision: str) -> Runner:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ONLY_ERRORS
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return Runner(lambda lightness: torch.from_numpy(session.run(None, {_INPUT: lightness.numpy()})[0]), precision)


def _openvino(hint: str) -> Build:
    def build(colorizer: Colorizer, _calibration: Tensor, _sizes: Sequence[int]) -> Runner:
        return run_compiled(to_openvino(Served(colorizer), (example(1),)), hint)

    return build


def to_openvino(module: nn.Module, inputs: tuple[Tensor, ...]) -> openvino.Model:
    """Converts a module, for batches of any size."""
    with quietly(), torch.inference_mode():
        traced = torch.jit.trace(module, inputs, check_trace=False)  # type: ignore[no-untyped-call]
        shapes = [openvino.PartialShape([-1, *x.shape[1:]]) for x in inputs]
        return openvino.convert_model(traced, input=shapes)


def run_compiled(model: openvino.Model, hint: str) -> Runner:
    """Compiles a model of one input, `hint` being its inference precision, on torch's number of threads."""
    compiled = openvino.Core().compile_model(model, "CPU", configuration(hint))
    request = compiled.create_infer_request()
    return Runner(
        lambda lightness: torch.from_numpy(request.infer([lightness.numpy()], share_inputs=True)[0]),
        used_precisions(compiled),
    )


def configuration(hint: str) -> dict[str, Any]:
    """The least latency: one stream with all threads."""
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": hint,
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }


def used_precisions(*compiled: openvino.CompiledModel) -> str:
    """How many convolutions run in which precision: a hint is not fulfilled for every layer."""
    operations = [operation for model in compiled for operation in model.get_runtime_model().get_ops()]
    information = [operation.get_rt_info() for operation in operations]
    counts = Counter(
        info["runtimePrecision"].astype(str)
        for info in information
        if info["layerType"].astype(str) in ("Convolution", "Deconvolution", "FullyConnected")
    )
    return ", ".join(f"{count} × {precision}" for precision, count in counts.most_common())


def _served(precision: Precision) -> Build:
    def build(colorizer: Colorizer, _calibration: Tensor, _sizes: Sequence[int]) -> Runner:
        compiled = CompiledColorizer(colorizer, precision)
        return Runner(compiled.predict, compiled.precision)

    return build


@contextmanager
def quietly() -> Iterator[None]:
    """The table is on standard output, and converters talk there; their deprecations are not ours to mend."""
    with warnings.catch_warnings(), open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        warnings.simplefilter("ignore")
        yield


PEERS = (
    Path("ONNX Runtime, float32", "float32", _onnx),
    Path("ONNX Runtime, int8", "int8", _onnx_int8),
    Path("OpenVINO, float32", "float32", _openvino("f32")),
    Path("OpenVINO, bf16", "bfloat16", _openvino("bf16")),
)
OURS = (
    Path("ours, float32", "float32", _served("float32")),
    Path("ours", "bfloat16", _served("auto")),
)
