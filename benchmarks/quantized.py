"""int8 with OpenVINO's NNCF: of the network as it is, and of the service's rewritten one."""

import logging
from collections.abc import Sequence

import nncf
import torch
from torch import Tensor

from benchmarks.paths import Build, Path, Runner, Served, example
from benchmarks.runtimes import configuration, quietly, run_compiled, to_openvino, used_precisions
from service.network.colorizer import Colorizer
from service.network.compiled import Body, Stem
from service.network.openvino_runtime import openvino

_NO_LAYERS = ("Tanh", "Multiply", "Power", "ReduceSum", "Sqrt", "Divide", "Atan", "GridSample", "Exp")
"""The calibration: arithmetic on the answer itself, and in 8 bits of little use to anyone."""


def _plain(colorizer: Colorizer, calibration: Tensor, _sizes: Sequence[int]) -> Runner:
    model = to_openvino(Served(colorizer), (example(1),))
    photographs = [photograph.numpy() for photograph in calibration[:, None]]
    # Quantised transposed convolutions cannot be compiled with a bf16 hint, and all the rest in float32 takes longer.
    ignored = nncf.IgnoredScope(types=[*_NO_LAYERS, "ConvolutionBackpropData"], validate=False)
    return run_compiled(_quantize(model, photographs, ignored), "bf16")


def _rewritten(pattern: str | None) -> Build:
    """The same two parts as in the service, so that what is lost is lost to int8 alone.

    `pattern`: names of operations that stay as they are.
    """
    ignored = nncf.IgnoredScope(types=list(_NO_LAYERS), patterns=[pattern] if pattern else [], validate=False)

    def build(colorizer: Colorizer, calibration: Tensor, _sizes: Sequence[int]) -> Runner:
        stem, body = Stem(colorizer).eval(), Body(colorizer).eval()
        with torch.inference_mode():
            inputs = [(photograph.numpy(), stem(photograph).numpy()) for photograph in calibration[:, None]]
            model = _quantize(to_openvino(body, (example(1), stem(example(1)))), inputs, ignored)
        core = openvino.Core()
        compiled_stem = core.compile_model(to_openvino(stem, (example(1),)), "CPU", configuration("f32"))
        compiled_body = core.compile_model(model, "CPU", configuration("bf16"))
        first, second = compiled_stem.create_infer_request(), compiled_body.create_infer_request()

        def predict(lightness: Tensor) -> Tensor:
            batch = lightness.numpy()
            features = first.infer([batch], share_inputs=True, share_outputs=True)[0]
            return torch.from_numpy(second.infer([batch, features], share_inputs=True)[0])[:, :2]

        return Runner(predict, used_precisions(compiled_stem, compiled_body))

    return build


def _quantize(model: openvino.Model, inputs: Sequence[object], ignored: nncf.IgnoredScope) -> openvino.Model:
    """Post-training quantisation; "mixed" lets activations that go below zero have a range that is not symmetric."""
    logging.getLogger("nncf").setLevel(logging.ERROR)
    with quietly():
        return nncf.quantize(
            model,
            nncf.Dataset(inputs),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(inputs),
            ignored_scope=ignored,
        )


QUANTIZED_PEERS = (Path("OpenVINO, int8", "int8", _plain),)
QUANTIZED_OURS = (
    Path("ours, int8", "int8", _rewritten(None)),
    Path("ours, int8 but for the decoder", "int8", _rewritten(".*decoder.*")),
)
