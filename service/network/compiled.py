"""The network on a CPU: compiled by OpenVINO, in the arithmetic that this very processor is fastest at.

Why OpenVINO, and what the alternatives took: docs/decisions/0007-cpu-path.md.
"""

import warnings
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from service.cores import count_cores
from service.network.backbones import trunk_maps
from service.network.colorizer import Colorizer, scale_hints
from service.network.openvino_runtime import FrontEndManager, TorchScriptPythonDecoder, openvino
from service.network.preprocessing import HINT_CHANNELS, INPUT_SIZE
from service.network.subpixel import SubpixelDecoder

_PRECISIONS = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}
_HINTS = {name: hint for hint, name in _PRECISIONS.items()}

_TRACED_SIZE = 32
"""Tracing records the operations, whatever the size: the smallest that passes all strides takes the least time."""

_PIECES = (4, 2, 1)
"""Batches are run in pieces of these sizes: code for a shape known in advance takes a tenth to a fifth less time than
code for any, and larger pieces save little more, but memory."""


_NO_HINTS = np.zeros((max(_PIECES), HINT_CHANNELS, INPUT_SIZE, INPUT_SIZE), np.float32)


class CompiledColorizer:
    """`Colorizer.predict`, several times as fast; for one thread at a time.

    It comes in two parts, because a few of the trunk's first layers lose several units of a* and b* in half precision,
    and the many others nothing: the stem is always float32.
    """

    def __init__(
        self,
        colorizer: Colorizer,
        precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
        threads: int | None = None,
    ) -> None:
        """`precision` "auto": half precision where the processor computes in it natively, float32 elsewhere.

        `threads` to compute with; None: one for each core. Batches are a sign that photographs queue: for those it
        takes no more than the backbone's `busy_share` of them.
        """
        lightness = torch.full((1, 1, _TRACED_SIZE, _TRACED_SIZE), 50.0)
        # Batch norm is folded in here, not by OpenVINO: the pieces then share the weights that it leads to.
        stem, body = fuse(Stem(colorizer).eval()), fuse(Body(colorizer).eval())
        self._takes_hints = colorizer.config.hints
        hints = (lightness.new_zeros(1, HINT_CHANNELS, _TRACED_SIZE, _TRACED_SIZE),) * self._takes_hints
        with torch.inference_mode():
            features = stem(lightness)
        threads = threads or count_cores()
        busy = max(1, round(threads * colorizer.config.backbone.busy_share))
        threads_by_size = {size: busy if size > 1 else threads for size in _PIECES}
        stems = _compile(stem, (lightness,), "float32", threads_by_size)
        bodies = _compile(body, (lightness, features, *hints), precision, threads_by_size)
        self._parts = {
            size: (stems[size].create_infer_request(), bodies[size].create_infer_request()) for size in _PIECES
        }
        self.precision = _PRECISIONS[bodies[1].get_property("INFERENCE_PRECISION_HINT").to_string()]
        """What the body really computes in: a request for a precision that the processor lacks is not fulfilled."""
        self.path = "openvino"
        """Which code runs the network, in words."""

    def predict(self, lightness: Tensor, hints: Tensor | None = None) -> Tensor:
        """See `Colorizer.predict`; L* is (B, 1, 224, 224)."""
        if hints is not None and not self._takes_hints:
            raise ValueError("this network takes no hints")
        batch = lightness.contiguous().numpy()
        given = None if hints is None else hints.contiguous().numpy()
        ab = np.empty((len(batch), 2, INPUT_SIZE, INPUT_SIZE), np.float32)
        begin = 0
        while begin < len(batch):
            size = next(size for size in _PIECES if begin + size <= len(batch))
            piece = batch[begin : begin + size]
            stem, body = self._parts[size]
            features = stem.infer([piece], share_inputs=True, share_outputs=True)[0]
            inputs = [piece, features]
            if self._takes_hints:
                inputs.append(_NO_HINTS[:size] if given is None else given[begin : begin + size])
            ab[begin : begin + size] = body.infer(inputs, share_inputs=True, share_outputs=True)[0]
            begin += size
        return torch.from_numpy(ab)


class Stem(nn.Module):
    """Preprocessing and those layers of the trunk that need float32."""

    def __init__(self, colorizer: Colorizer) -> None:
        super().__init__()
        self.preprocessing = colorizer.preprocessing
        self.layers = colorizer.backbone[: colorizer.config.backbone.float32_layers]

    def forward(self, lightness: Tensor) -> Tensor:
        _, backbone_input = self.preprocessing(lightness)
        features: Tensor = self.layers(backbone_input)
        return features


class Body(nn.Module):
    """Everything else, the calibration included."""

    def __init__(self, colorizer: Colorizer) -> None:
        super().__init__()
        self.config = colorizer.config
        self.preprocessing = colorizer.preprocessing
        self.encoder = colorizer.encoder
        self.layers = nn.ModuleList(colorizer.backbone[colorizer.config.backbone.float32_layers :])
        self.fusion = colorizer.fusion
        # OpenVINO computes transposed convolutions in float32, whatever is asked for.
        self.decoder = SubpixelDecoder(colorizer.decoder, confidence=colorizer.reads_confidence)
        self.calibration = colorizer.calibration

    def forward(self, lightness: Tensor, features: Tensor, hints: Tensor | Any = None) -> Tensor:
        encoder_input, _ = self.preprocessing(lightness, scale_hints(hints) if self.config.hints else None)
        maps = trunk_maps(self.config.backbone, list(self.layers), features)
        prediction = self.decoder(self.fusion(self.encoder(encoder_input), maps))
        ab: Tensor = self.calibration(prediction.raw, prediction.expected_error, lightness)
        return ab


def _compile(
    module: nn.Module, inputs: tuple[Tensor, ...], precision: str, threads_by_size: Mapping[int, int]
) -> dict[int, Any]:
    """The module compiled for each batch size."""
    with torch.inference_mode(), warnings.catch_warnings():
        # OpenVINO reads torch.export's programs as well, but takes four times as long for them.
        warnings.simplefilter("ignore", FutureWarning)
        decoder = TorchScriptPythonDecoder(torch.jit.trace(module, inputs, check_trace=False))  # type: ignore[no-untyped-call]
        # Not openvino.convert_model, which does the same and tells a statistics server on the internet.
        frontend = FrontEndManager().load_by_framework("pytorch")
        model = frontend.convert(frontend.load(decoder))
    # One stream with all cores: the least latency, and batches take the place of streams.
    # Not pinned to cores: OpenVINO's threads share them with those that decode and encode.
    config: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": False}
    if precision != "auto":
        config["INFERENCE_PRECISION_HINT"] = _HINTS[precision]
    core, scale = openvino.Core(), INPUT_SIZE // _TRACED_SIZE
    compiled: dict[int, Any] = {}
    for size, threads in threads_by_size.items():
        model.reshape({i: [size, x.shape[1], x.shape[2] * scale, x.shape[3] * scale] for i, x in enumerate(inputs)})
        compiled[size] = core.compile_model(model, "CPU", config | {"INFERENCE_NUM_THREADS": threads})
    return compiled
