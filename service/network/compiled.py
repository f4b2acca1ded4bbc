"""The network on a CPU: compiled by OpenVINO, in the arithmetic that this very processor is fastest at.

Why OpenVINO, and what the alternatives took: docs/decisions/0007-cpu-path.md.
"""

import warnings
from collections.abc import Callable, Set
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from service.cores import count_cores
from service.network.backbones import trunk_maps
from service.network.chroma import with_error
from service.network.colorizer import Colorizer, scale_hints
from service.network.openvino_runtime import FrontEndManager, TorchScriptPythonDecoder, openvino
from service.network.preprocessing import HINT_CHANNELS, INPUT_SIZE
from service.network.subpixel import SubpixelDecoder

_PRECISIONS = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}
_HINTS = {name: hint for hint, name in _PRECISIONS.items()}

_TRACED_SIZE = 32
"""Tracing records the operations, whatever the size: the smallest that passes all strides takes the least time."""


class CompiledColorizer:
    """`Colorizer.predict`, several times as fast; for as many threads at a time as it is prepared for.

    It comes in two parts, because a few of the trunk's first layers lose several units of a* and b* in half precision,
    and the many others nothing: the stem is always float32.
    """

    def __init__(
        self,
        colorizer: Colorizer,
        precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
        cores: int | None = None,
        at_once: int = 1,
    ) -> None:
        """Prepares single photographs, on so many cores (None: all), `at_once` of them at the same time.

        `precision` "auto": half precision where the processor computes in it natively, float32 elsewhere.
        """
        lightness = torch.full((1, 1, _TRACED_SIZE, _TRACED_SIZE), 50.0)
        # Batch norm is folded in here, not by OpenVINO: all that is compiled then shares the weights that it leads to.
        stem, body = fuse(Stem(colorizer).eval()), fuse(Body(colorizer).eval())
        self._takes_hints = colorizer.config.hints
        hints = (lightness.new_zeros(1, HINT_CHANNELS, _TRACED_SIZE, _TRACED_SIZE),) * self._takes_hints
        with torch.inference_mode():
            features = stem(lightness)
        self._stem = _Part(stem, (lightness,), "float32")
        self._body = _Part(body, (lightness, features, *hints), precision)
        self._idle: dict[tuple[int, int], list[_Request]] = {}
        self.cores = cores or count_cores()
        """How many each photograph is computed on, where `predict` is not told otherwise."""
        self.prepare(1, self.cores, at_once)
        self.precision = _PRECISIONS[self._body.precision]
        """What the body really computes in: a request for a precision that the processor lacks is not fulfilled."""
        self.path = "openvino"
        """Which code runs the network, in words."""

    def prepare(self, size: int, cores: int, at_once: int = 1) -> None:
        """Compiles it for batches of a size on so many cores each, `at_once` of them at the same time.

        What is prepared needs memory, about that of the weights for each at once: it pays only where it is used.
        """
        for part in (self._stem, self._body):
            part.reshape(size)
        with ThreadPoolExecutor(self.cores) as threads:
            compiled = [
                [threads.submit(part.compiler(cores)) for part in (self._stem, self._body)] for _ in range(at_once)
            ]
        self._idle[size, cores] = [_Request(stem.result(), body.result()) for stem, body in compiled]

    @property
    def prepared(self) -> Set[tuple[int, int]]:
        """Batch sizes, each with a number of cores."""
        return self._idle.keys()

    def forget(self, size: int, cores: int) -> None:
        """Gives the memory of what was prepared back."""
        del self._idle[size, cores]

    def seal(self) -> None:
        """Gives the memory back that preparing needs: nothing more is prepared."""
        del self._stem, self._body

    def predict(self, lightness: Tensor, hints: Tensor | None = None, cores: int | None = None) -> Tensor:
        """See `Colorizer.predict`; L* is (B, 1, 224, 224)."""
        return self.predict_with_error(lightness, hints, cores)[:, :2]

    def predict_with_error(self, lightness: Tensor, hints: Tensor | None = None, cores: int | None = None) -> Tensor:
        """See `Colorizer.predict_with_error`; L* is (B, 1, 224, 224).

        A batch is computed in pieces, as large as is prepared for so many cores.
        """
        if hints is not None and not self._takes_hints:
            raise ValueError("this network takes no hints")
        cores = cores or self.cores
        batch, given = lightness.numpy(), None if hints is None else hints.numpy()
        answers = np.empty((len(batch), 3, INPUT_SIZE, INPUT_SIZE), np.float32)
        begin = 0
        while begin < len(batch):
            size = max(size for size, on in self._idle if on == cores and begin + size <= len(batch))
            piece = slice(begin, begin + size)
            idle = self._idle[size, cores]
            request = idle.pop()
            try:
                request.infer(batch[piece], None if given is None else given[piece], answers[piece])
            finally:
                idle.append(request)
            begin += size
        return torch.from_numpy(answers)


class _Request:
    """Both parts, compiled for a batch size, and the memory that they read and write; for one thread at a time."""

    def __init__(self, stem: Any, body: Any) -> None:
        self._stem, self._body = stem.create_infer_request(), body.create_infer_request()
        self._lightness, *hints = (np.zeros(list(port.shape), np.float32) for port in body.inputs[::2])
        self._hints = hints[0] if hints else None
        lightness, *hints = (openvino.Tensor(array, shared_memory=True) for array in (self._lightness, *hints))
        self._stem.set_input_tensor(0, lightness)
        features = self._stem.get_output_tensor(0)
        for i, tensor in enumerate((lightness, features, *hints)):
            self._body.set_input_tensor(i, tensor)
        self._answers = self._body.get_output_tensor(0)

    def infer(
        self, lightness: NDArray[np.float32], hints: NDArray[np.float32] | None, answers: NDArray[np.float32]
    ) -> None:
        """Computes `answers` of lightness and, where the network takes them, hints (None: there are none)."""
        self._lightness[:] = lightness
        if self._hints is not None:
            self._hints[:] = 0 if hints is None else hints
        self._stem.infer(share_outputs=True)
        self._body.infer(share_outputs=True)
        answers[:] = self._answers.data


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
        self.decoder = SubpixelDecoder(colorizer.decoder)
        self.calibration = colorizer.calibration

    def forward(self, lightness: Tensor, features: Tensor, hints: Tensor | Any = None) -> Tensor:
        encoder_input, _ = self.preprocessing(lightness, scale_hints(hints) if self.config.hints else None)
        maps = trunk_maps(self.config.backbone, list(self.layers), features)
        prediction = self.decoder(self.fusion(self.encoder(encoder_input), maps))
        ab: Tensor = self.calibration(prediction.raw, prediction.expected_error, lightness)
        return with_error(ab, prediction.expected_error)


class _Part:
    """A module as OpenVINO's own model, to be compiled for any batch size."""

    def __init__(self, module: nn.Module, inputs: tuple[Tensor, ...], precision: str) -> None:
        with torch.inference_mode(), warnings.catch_warnings():
            # OpenVINO reads torch.export's programs as well, but takes four times as long for them.
            warnings.simplefilter("ignore", FutureWarning)
            decoder = TorchScriptPythonDecoder(torch.jit.trace(module, inputs, check_trace=False))  # type: ignore[no-untyped-call]
            # Not openvino.convert_model, which does the same and tells a statistics server on the internet.
            frontend = FrontEndManager().load_by_framework("pytorch")
            self._model = frontend.convert(frontend.load(decoder))
        scale = INPUT_SIZE // _TRACED_SIZE
        self._shapes = [(x.shape[1], x.shape[2] * scale, x.shape[3] * scale) for x in inputs]
        self._config = {} if precision == "auto" else {"INFERENCE_PRECISION_HINT": _HINTS[precision]}
        self.precision = ""
        """What the latest compilation computes in, in OpenVINO's words."""

    def reshape(self, size: int) -> None:
        """Makes it one for batches of a size."""
        self._model.reshape({i: [size, *shape] for i, shape in enumerate(self._shapes)})

    def compiler(self, cores: int) -> Callable[[], Any]:
        """What compiles it for one batch at a time, on so many cores; for any thread, beside others."""
        # Of a copy, which shares the weights: OpenVINO (2025.3) crashes where threads compile one model at once.
        return partial(self._compile, self._model.clone(), cores)

    def _compile(self, model: Any, cores: int) -> Any:
        config = self._config | {
            # One, because with several OpenVINO computes in threads of its own: on one core, a photograph would wait
            # twice for a thread to be woken. With one, it is the calling thread that computes.
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": cores,
            # They share the cores with those that decode and encode.
            "ENABLE_CPU_PINNING": False,
        }
        compiled = openvino.Core().compile_model(model, "CPU", config)
        self.precision = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        return compiled
