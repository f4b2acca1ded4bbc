"""A path: one way to run the network on a CPU. Here are torch's own.

Every path answers the same question, `Colorizer.predict`: L* in, calibrated a* and b* out.
"""

import copy
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath

import torch
from torch import Tensor, nn
from torch._inductor import aoti_compile_and_package, aoti_load_package
from torch._inductor import config as inductor
from torch.nn.utils.fusion import fuse_conv_bn_eval

from service.network.colorizer import Colorizer
from service.network.preprocessing import INPUT_SIZE


class MissingToolError(Exception):
    """A path cannot be built on this machine; the message says what is missing."""


@dataclass(frozen=True)
class Runner:
    """A path that is ready to run."""

    predict: Callable[[Tensor], Tensor]
    """`Colorizer.predict`."""
    precision: str
    """What it really computes in, in words."""


Build = Callable[[Colorizer, Tensor, Sequence[int]], Runner]
"""Makes a path of the network, in evaluation mode; given as well: L* to calibrate with, the batch sizes to come."""


@dataclass(frozen=True)
class Path:
    """A way to run the network."""

    name: str
    ceiling: str
    """The precision whose matrix products bound it."""
    build: Build


class Served(nn.Module):
    """`Colorizer.predict` as a module, for compilers and exporters: they take nothing else."""

    def __init__(self, colorizer: Colorizer) -> None:
        super().__init__()
        self.colorizer = colorizer
        # torch.onnx.export puts all parts back into the mode of the whole, which is training unless it is told.
        self.eval()

    def forward(self, lightness: Tensor) -> Tensor:
        prediction = self.colorizer(lightness)
        ab: Tensor = self.colorizer.calibration(prediction.raw, prediction.expected_error, lightness)
        return ab


def example(size: int) -> Tensor:
    """A batch to trace and to warm up with."""
    return torch.linspace(0, 100, size * INPUT_SIZE**2).reshape(size, 1, INPUT_SIZE, INPUT_SIZE)


def _eager(colorizer: Colorizer, _calibration: Tensor, _sizes: Sequence[int]) -> Runner:
    return Runner(colorizer.predict, "float32")


def _channels_last(colorizer: Colorizer, _calibration: Tensor, _sizes: Sequence[int]) -> Runner:
    return Runner(copy.deepcopy(colorizer).to(memory_format=torch.channels_last).predict, "float32")


def _autocast(colorizer: Colorizer, _calibration: Tensor, _sizes: Sequence[int]) -> Runner:
    return _under_autocast(copy.deepcopy(colorizer).to(memory_format=torch.channels_last))


def _folded(colorizer: Colorizer, _calibration: Tensor, _sizes: Sequence[int]) -> Runner:
    folded = copy.deepcopy(colorizer)
    _fold_batch_norms(folded)
    return _under_autocast(folded.to(memory_format=torch.channels_last))


def _fold_batch_norms(module: nn.Module) -> None:
    """Puts every batch norm into the convolution before it; all networks here register the two one after the other."""
    previous: tuple[str, nn.Module] | None = None
    for name, child in list(module.named_children()):
        if isinstance(child, nn.BatchNorm2d) and previous is not None and isinstance(previous[1], nn.Conv2d):
            setattr(module, previous[0], fuse_conv_bn_eval(previous[1], child))
            setattr(module, name, nn.Identity())
        else:
            _fold_batch_norms(child)
        previous = name, child


def _under_autocast(colorizer: Colorizer) -> Runner:
    def predict(lightness: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return colorizer.predict(lightness)

    return Runner(predict, _autocast_precision())


def _autocast_precision() -> str:
    # Without the instructions oneDNN is not used, and torch's own kernels convert back and forth.
    return "bfloat16" if torch.ops.mkldnn._is_mkldnn_bf16_supported() else "bfloat16, emulated"


def _compiled(colorizer: Colorizer, _calibration: Tensor, sizes: Sequence[int]) -> Runner:
    """One compilation for each batch size: a dynamic one took as long as four of them and gave slower code."""
    _need_compiler()
    torch.compiler.reset()
    compiled = torch.compile(Served(colorizer), dynamic=False)

    def predict(lightness: Tensor) -> Tensor:
        # Not inference_mode: freezing does not happen in it.
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            ab: Tensor = compiled(lightness)
            return ab

    # Without caches, for the start-up of a machine that has never run it.
    with inductor.patch(freezing=True, force_disable_caches=True):
        for size in sizes:
            predict(example(size))
    return Runner(predict, _autocast_precision())


def _ahead_of_time(colorizer: Colorizer, _calibration: Tensor, sizes: Sequence[int]) -> Runner:
    """One package for all batch sizes: that is what it is for."""
    _need_compiler()
    with (
        tempfile.TemporaryDirectory() as folder,
        torch.no_grad(),
        torch.autocast("cpu", torch.bfloat16),
        inductor.patch(freezing=True, force_disable_caches=True),
    ):
        batch = torch.export.Dim("batch", min=1, max=2 * max(sizes))
        program = torch.export.export(Served(colorizer), (example(2),), dynamic_shapes=({0: batch},))
        package = aoti_compile_and_package(program, package_path=str(FilePath(folder) / "colorizer.pt2"))
        network = aoti_load_package(package)
    return Runner(network, _autocast_precision())


def _need_compiler() -> None:
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise MissingToolError(f"no C++ compiler ({compiler}), and this path writes C++")


TORCH_PATHS = (
    Path("eager", "float32", _eager),
    Path("channels_last", "float32", _channels_last),
    Path("channels_last, bf16 autocast", "bfloat16", _autocast),
    Path("channels_last, bf16 autocast, folded batch norm", "bfloat16", _folded),
    Path("torch.compile, bf16, frozen", "bfloat16", _compiled),
    Path("AOTInductor, bf16, frozen", "bfloat16", _ahead_of_time),
)
