"""The GPU path, checked against the CPU's float32 and measured: `make gpu-check`. Markdown on standard output.

Exit status: 0: every answer agrees; 1: one does not; 2: there is no GPU, so nothing was checked.
"""

import argparse
import gc
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Literal, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.table import render_table
from service.engine.choice import BackboneChoice
from service.engine.cuda import CudaDevice
from service.engine.device import Launcher
from service.imaging.color import lab_to_linear_rgb, srgb_encode
from service.imaging.photograph import inspect
from service.imaging.recompose import recompose
from service.imaging.upsample import reduce
from service.network.backbones import BackboneName
from service.network.checkpoint import Checkpoint
from service.network.colorizer import Colorizer
from service.network.preprocessing import INPUT_SIZE

MAX_MEAN_DIFFERENCE = 1.0
"""ΔE*ab: the mean over all pixels from which on an answer of the GPU is not that of the CPU."""

T = TypeVar("T")
Precision = Literal["float16", "bfloat16", "float32"]
_PRECISIONS: tuple[Precision, ...] = ("float16", "bfloat16", "float32")  # the service's choice first
_MEASURED_S = 2.0  # so long is each throughput measured
_SIZES = {"512²": (512, 512), "2 MP": (1224, 1632), "12 MP": (3000, 4000)}  # (H, W)
_REPEATS = 5


def main() -> int:
    """Checks and measures; the process's exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--store", type=Path, default=Path("model_store"))
    parser.add_argument("--photos", type=Path, default=Path("docs/pictures"), help="a folder of JPEGs")
    parser.add_argument("--max-batch-size", type=int, default=32)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("gpu-check: torch finds no CUDA GPU here, so nothing was checked", file=sys.stderr)
        return 2
    gpu = torch.cuda.get_device_properties(0)
    print(f"{time.strftime('%Y-%m-%d')}, {gpu.name}, {gpu.total_memory / 2**30:.0f} GiB, torch {torch.__version__}, ")
    print(f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}; ΔE*ab to float32 on the CPU\n")  # type: ignore[no-untyped-call]
    colorizers = {
        name.value: Checkpoint.load(arguments.store / name, name).colorizer
        for name in BackboneName
        if (arguments.store / name).is_dir()
    }
    lightness = load_lightness(arguments.photos)
    expected = {name: colorizer.predict(torch.stack(lightness)) for name, colorizer in colorizers.items()}
    agree = [check(precision, colorizers, lightness, expected, arguments.max_batch_size) for precision in _PRECISIONS]
    print_table(
        ["recompose", "CPU, one thread, ms", "GPU with copies, ms", "GPU alone, ms", "levels apart, mean", "largest"],
        [[size, *compare_recompose(lightness[0], next(iter(expected.values()))[0], *_SIZES[size])] for size in _SIZES],
    )
    if not all(agree):
        print(f"gpu-check: answers differ by a mean of more than {MAX_MEAN_DIFFERENCE} ΔE*ab", file=sys.stderr)
        return 1
    return 0


def check(
    precision: Precision,
    colorizers: Mapping[str, Colorizer],
    lightness: Sequence[Tensor],
    expected: Mapping[str, Tensor],
    max_batch_size: int,
) -> bool:
    """Prints what a precision gives and takes; whether its answers are the `expected` a*, b* (N, 2, 224, 224)."""
    torch.cuda.reset_peak_memory_stats()
    started = time.monotonic()
    device = CudaDevice(colorizers, precision)
    seconds = device.warm_up(max_batch_size)
    took = time.monotonic() - started
    rows, agree = measure(device, seconds, lightness, expected)
    print(f"## {precision}\n\nReady in {took:.1f} s. GPU memory, MiB: ", end="")
    held = torch.cuda.memory_allocated(), torch.cuda.memory_reserved(), torch.cuda.max_memory_reserved()
    print("{:.0f} allocated, {:.0f} reserved, {:.0f} at the peak of warm-up.\n".format(*(b / 2**20 for b in held)))
    print_table(
        [
            "backbone",
            "batch",
            "ΔE, mean",
            "99th percentile",
            "largest",
            "ms",
            "images/s, one by one",
            "images/s, overlapped",
        ],
        rows,
    )
    del device
    gc.collect()
    torch.cuda.empty_cache()
    return agree


def load_lightness(folder: Path) -> list[Tensor]:
    """L* (1, 224, 224) of the JPEGs in a folder, without the answers that the service gave to them."""
    coloured = tuple(f"-{choice}" for choice in BackboneChoice)
    files = [file for file in sorted(folder.glob("*.jpg")) if not file.stem.endswith(coloured)]
    if not files:
        raise FileNotFoundError(f"no *.jpg in {folder}")
    return [reduce(inspect(file.read_bytes(), sys.maxsize).decode().lightness, INPUT_SIZE) for file in files]


def measure(
    device: Launcher,
    sizes: Mapping[str, Iterable[int]],
    lightness: Sequence[Tensor],
    expected: Mapping[str, Tensor],
) -> tuple[list[list[str]], bool]:
    """A row for each backbone and batch size, and whether all of them agree with what is expected."""
    rows, agree = [], True
    for name, by_size in sizes.items():
        for size in by_size:
            difference = differences(device, name, size, lightness, expected[name])
            mean = difference.mean().item()
            agree &= mean <= MAX_MEAN_DIFFERENCE
            batch = list(islice(cycle(lightness), size))
            alone, overlapped = (throughput(device, name, batch, under_way) for under_way in (1, 2))
            figures = mean, quantile(difference, 0.99), difference.max().item(), 1000 * size / alone
            rows.append(
                [name, str(size), *(f"{figure:.3f}" for figure in figures), f"{alone:.0f}", f"{overlapped:.0f}"]
            )
    return rows, agree


def differences(device: Launcher, backbone: str, size: int, lightness: Sequence[Tensor], expected: Tensor) -> Tensor:
    """ΔE*ab of every pixel, (n,), with batches of `size`, two of them under way; lightness is common to both sides.

    The photographs go round until two batches are full; the last one may be smaller and have padding.
    """
    order = list(islice(cycle(range(len(lightness))), max(len(lightness), 2 * size + 1)))
    batches = [order[i : i + size] for i in range(0, len(order), size)]
    answers = overlap(device, backbone, [[lightness[i] for i in batch] for batch in batches], under_way=2)
    ab = torch.stack([one[:2] for answer in answers for one in answer])
    return (ab - expected[order]).square().sum(1).sqrt().flatten()


def quantile(values: Tensor, share: float) -> float:
    """torch.quantile, of any number of values."""
    return values.kthvalue(max(1, round(share * len(values)))).values.item()


def throughput(device: Launcher, backbone: str, batch: Sequence[Tensor], under_way: int) -> float:
    """Photographs a second in batches like this one, so many of them launched and not yet collected."""
    started = time.monotonic()

    def batches() -> Iterable[Sequence[Tensor]]:
        while time.monotonic() - started < _MEASURED_S:
            yield batch

    count = sum(len(answers) for answers in overlap(device, backbone, batches(), under_way))
    return count / (time.monotonic() - started)


def overlap(
    device: Launcher, backbone: str, batches: Iterable[Sequence[Tensor]], under_way: int
) -> Iterable[list[Tensor]]:
    """The answers to batches, collected when `under_way` of them are launched."""
    launched: deque[Callable[[], list[Tensor]]] = deque()
    for batch in batches:
        launched.append(device.launch(backbone, batch))
        if len(launched) == under_way:
            yield launched.popleft()()
    for collect in launched:
        yield collect()


def compare_recompose(lightness: Tensor, ab: Tensor, height: int, width: int) -> list[str]:
    """What it takes to colour a photograph of that size here and there, and how far both are apart, in 8-bit levels.

    They differ at edges, as the device's chroma is bicubic.

    `lightness` (1, h, w) is enlarged to the size, `ab` (2, h, w) is what the network answered.
    """
    large = F.interpolate(lightness[None], (height, width), mode="bicubic")[0, 0].clamp(0, 100)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the service's codec threads
    expected, cpu_ms = timed(lambda: recompose(large, ab))
    torch.set_num_threads(threads)
    host_lightness, host_rgb = large.pin_memory(), torch.empty(height, width, 3, dtype=torch.uint8, pin_memory=True)
    device_lightness, device_ab = large.cuda(), ab.cuda()

    def with_copies() -> Tensor:
        host_lightness.copy_(large)  # decoders give ordinary memory
        rgb = recompose_on_device(host_lightness.cuda(non_blocking=True), ab.cuda())
        host_rgb.copy_(rgb, non_blocking=True)
        torch.cuda.synchronize()
        return host_rgb

    def alone() -> None:
        recompose_on_device(device_lightness, device_ab)
        torch.cuda.synchronize()

    rgb, copies_ms = timed(with_copies)
    _, alone_ms = timed(alone)
    apart = (rgb.int() - expected.int()).abs().float()
    milliseconds = [f"{figure:.2f}" for figure in (cpu_ms, copies_ms, alone_ms)]
    return [*milliseconds, f"{apart.mean().item():.4f}", f"{apart.max().item():.0f}"]


def recompose_on_device(lightness: Tensor, ab: Tensor) -> Tensor:
    """`recompose` as array operations, on the device where both tensors are; chroma bicubic, so a little less work."""
    chroma = F.interpolate(ab[None], lightness.shape, mode="bicubic", antialias=True)[0]
    scale, step = torch.zeros_like(lightness), 1.0
    for _ in range(10):
        step /= 2
        scale += step * _in_gamut(_linear_rgb(lightness, chroma, scale + step))
    scale = torch.where(_in_gamut(_linear_rgb(lightness, chroma, 1)), 1, scale)
    return (srgb_encode(_linear_rgb(lightness, chroma, scale)) * 255).round().to(torch.uint8).permute(1, 2, 0)


def _linear_rgb(lightness: Tensor, chroma: Tensor, scale: Tensor | float) -> Tensor:
    return lab_to_linear_rgb(torch.cat((lightness[None], chroma * scale)))


def _in_gamut(linear: Tensor) -> Tensor:
    return ((linear >= -1e-5) & (linear <= 1 + 1e-4)).all(dim=0)


def timed(function: Callable[[], T]) -> tuple[T, float]:
    """The function's answer, and the best of its times in ms."""
    answer, best = function(), float("inf")
    for _ in range(_REPEATS):
        started = time.perf_counter()
        answer = function()
        best = min(best, 1000 * (time.perf_counter() - started))
    return answer, best


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """As Markdown."""
    print(render_table(head, rows), end="\n\n")


if __name__ == "__main__":
    sys.exit(main())
