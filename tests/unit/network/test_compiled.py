"""The compiled network against the one it was compiled from."""

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import Tensor

from service.imaging.color import rgb_to_lab
from service.imaging.photograph import inspect
from service.imaging.recompose import recompose
from service.imaging.upsample import reduce
from service.network.backbones import BackboneName
from service.network.checkpoint import Checkpoint
from service.network.colorizer import Colorizer
from service.network.compiled import CompiledColorizer
from service.network.openvino_runtime import openvino
from tests.conftest import build_colorizer, randomize

ROOT = Path(__file__).parents[3]
PHOTOGRAPHS = [
    file
    for file in sorted((ROOT / "docs" / "pictures").glob("*.jpg"))
    if not file.stem.endswith(("-blend", "-resnet101", "-mobilenet_v2"))  # the answers
]

ROUNDING = 2e-3
"""Of a* and b*, which reach 128: what the order of float32 additions may change in a hundred layers."""

HAS_BFLOAT16 = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


SECOND = {"fusion_strides": (32, 16, 8, 4), "hints": True, "confidence": True}


@pytest.fixture(
    scope="module",
    params=[*((name, {}) for name in BackboneName), (BackboneName.MOBILENET_V2, SECOND)],
    ids=[*BackboneName, "version 2"],
)
def pair(request: pytest.FixtureRequest) -> tuple[Colorizer, CompiledColorizer]:
    backbone, changes = request.param
    colorizer = build_colorizer(backbone, **changes)
    return colorizer, CompiledColorizer(colorizer, "float32")


def lightness(batch: int, seed: int = 1) -> Tensor:
    return torch.rand(batch, 1, 224, 224, generator=torch.Generator().manual_seed(seed)) * 100


def test_float32_is_the_colorizer_but_for_rounding(pair: tuple[Colorizer, CompiledColorizer]) -> None:
    colorizer, compiled = pair
    batch = lightness(2)
    batch[1] = torch.linspace(0, 100, 224)[None, :, None]  # black to white
    answer, expected = compiled.predict(batch), colorizer.predict(batch)
    assert (answer.shape, answer.dtype, answer.device.type) == ((2, 2, 224, 224), torch.float32, "cpu")
    assert expected.abs().max() > 20
    assert (answer - expected).abs().max() < ROUNDING
    assert (compiled.precision, compiled.path) == ("float32", "openvino")


def test_so_is_the_error_that_is_expected(pair: tuple[Colorizer, CompiledColorizer]) -> None:
    colorizer, compiled = pair
    answer, expected = compiled.predict_with_error(lightness(2)), colorizer.predict_with_error(lightness(2))
    assert (answer.shape, answer.dtype) == ((2, 3, 224, 224), torch.float32)
    assert torch.equal(answer[:, :2], compiled.predict(lightness(2)))
    assert (answer - expected).abs().max() < ROUNDING
    assert (expected[:, 2].std() > 0) == colorizer.config.confidence


def test_every_batch_size_answers_as_one_by_one(pair: tuple[Colorizer, CompiledColorizer]) -> None:
    _, compiled = pair
    batch = lightness(5)
    alone = torch.cat([compiled.predict(one[None]) for one in batch])
    for size in (5, 2, 3, 1, 4):
        assert (compiled.predict(batch[:size]) - alone[:size]).abs().max() < ROUNDING


def test_hints_are_those_of_the_colorizer_in_every_batch_size(second_colorizer: Colorizer) -> None:
    compiled = CompiledColorizer(second_colorizer, "float32")
    batch, hints = lightness(5), torch.zeros(5, 3, 224, 224)
    for row, column in enumerate((0, 50, 100)):
        hints[row, :, 30:39, column : column + 9] = torch.tensor([40.0, -70.0, 1.0]).view(3, 1, 1)
    answer = compiled.predict(batch, hints)
    assert (answer - second_colorizer.predict(batch, hints)).abs().max() < ROUNDING
    assert (answer - compiled.predict(batch)).abs().amax(dim=(1, 2, 3)).gt(0.1).tolist() == [True] * 3 + [False] * 2


def test_it_can_be_prepared_for_larger_batches_and_more_threads(mobilenet_colorizer: Colorizer) -> None:
    compiled = CompiledColorizer(mobilenet_colorizer, "float32", cores=2)
    batch = lightness(5)
    expected = compiled.predict(batch)
    compiled.prepare(1, 1, at_once=3)
    compiled.prepare(4, 1)
    assert set(compiled.prepared) == {(1, 2), (1, 1), (4, 1)}
    assert (compiled.predict(batch, cores=1) - expected).abs().max() < ROUNDING
    barrier = threading.Barrier(3)

    def predict(one: Tensor) -> Tensor:
        barrier.wait(20)
        return torch.stack([compiled.predict(one[None], cores=1) for _ in range(5)])

    with ThreadPoolExecutor(3) as pool:
        for answers, one in zip(pool.map(predict, batch[:3]), expected, strict=False):
            assert (answers - one).abs().max() < ROUNDING
    compiled.forget(4, 1)
    compiled.seal()
    assert (compiled.predict(batch, cores=1) - expected).abs().max() < ROUNDING


def test_hints_for_a_network_that_takes_none_are_an_error(mobilenet_colorizer: Colorizer) -> None:
    with pytest.raises(ValueError, match="takes no hints"):
        CompiledColorizer(mobilenet_colorizer, "float32").predict(lightness(1), torch.zeros(1, 3, 224, 224))


def test_an_answer_stays_what_it_was_when_the_next_one_is_computed(pair: tuple[Colorizer, CompiledColorizer]) -> None:
    _, compiled = pair
    batch = lightness(2)
    first = compiled.predict(batch)
    kept, given = first.clone(), batch.clone()
    second = compiled.predict(lightness(2, seed=2))
    assert torch.equal(first, kept)
    assert not torch.equal(first, second)
    assert torch.equal(batch, given)
    first.zero_()  # it is the caller's own
    assert torch.equal(compiled.predict(batch), kept)


def test_a_batch_need_not_be_contiguous(pair: tuple[Colorizer, CompiledColorizer]) -> None:
    _, compiled = pair
    batch = lightness(4)
    assert (compiled.predict(batch[::2]) - compiled.predict(batch[::2].contiguous())).abs().max() < ROUNDING


def test_the_colorizer_it_was_compiled_from_stays_as_it_is(mobilenet_colorizer: Colorizer) -> None:
    before = mobilenet_colorizer.predict(lightness(1))
    modules = [type(module) for module in mobilenet_colorizer.modules()]
    CompiledColorizer(mobilenet_colorizer, "float32")
    assert [type(module) for module in mobilenet_colorizer.modules()] == modules
    assert torch.equal(mobilenet_colorizer.predict(lightness(1)), before)


@pytest.mark.parametrize("confidence", [False, True])
def test_the_chroma_map_is_in_it(confidence: bool) -> None:
    colorizer = build_colorizer(BackboneName.MOBILENET_V2, confidence=confidence, calibrated=True)
    before = colorizer.predict(lightness(3))
    randomize(colorizer)
    answer = CompiledColorizer(colorizer, "float32").predict(lightness(3))
    assert (answer - colorizer.predict(lightness(3))).abs().max() < ROUNDING
    assert (answer - before).abs().max() > 1


@pytest.mark.skipif(not HAS_BFLOAT16, reason="this processor does not compute in bfloat16")
def test_half_precision_where_the_processor_has_it(mobilenet_colorizer: Colorizer) -> None:
    exact = mobilenet_colorizer.predict(lightness(2))
    for precision in ("auto", "bfloat16"):
        compiled = CompiledColorizer(mobilenet_colorizer, precision)
        assert compiled.precision == "bfloat16"
        # It tells the truth: the answer is neither that of float32 nor far from it.
        assert ROUNDING < (compiled.predict(lightness(2)) - exact).abs().mean() < 2


@pytest.mark.parametrize("name", list(BackboneName))
def test_as_served_the_shipped_weights_colours_are_those_of_float32(name: BackboneName) -> None:
    """Mean distance of a* and b*, on the pictures of the README, in the finished picture at its own size."""
    assert len(PHOTOGRAPHS) == 8
    distances = {}
    colorizer = Checkpoint.load(ROOT / "model_store" / name, name).colorizer
    compiled = CompiledColorizer(colorizer)
    for file in PHOTOGRAPHS:
        photograph = inspect(file.read_bytes(), 10**7).decode()
        small = reduce(photograph.lightness, 224)[None]
        served, exact = (
            chroma(recompose(photograph.lightness, predicted[0]))
            for predicted in (compiled.predict(small), colorizer.predict(small))
        )
        assert exact.norm(dim=0).mean() > 2, file.name
        distances[file.stem] = (served - exact).norm(dim=0).mean().item()
    assert sum(distances.values()) / len(distances) <= 1.0, distances
    assert max(distances.values()) <= 1.5, distances


def chroma(rgb: Tensor) -> Tensor:
    """uint8 (H, W, 3) → a*, b* (2, H, W)."""
    return rgb_to_lab(rgb.permute(2, 0, 1).float() / 255)[1:]


OLD_PROCESSOR = """
import json, torch
from service.network.backbones import BackboneName
from service.network.compiled import CompiledColorizer
from tests.conftest import build_colorizer

batch = torch.rand(2, 1, 224, 224, generator=torch.Generator().manual_seed(1)) * 100
for name in BackboneName:
    colorizer = build_colorizer(name)
    compiled = CompiledColorizer(colorizer)
    kernels = {
        str(operation.get_rt_info()["primitiveType"].astype(str))
        for requests in compiled._idle.values()
        for request in (requests[0]._stem, requests[0]._body)
        for operation in request.get_compiled_model().get_runtime_model().get_ordered_ops()
    }
    error = (compiled.predict(batch) - colorizer.predict(batch)).abs().max().item()
    print(json.dumps({"precision": compiled.precision, "error": error, "kernels": sorted(kernels)}))
"""


def test_right_and_honest_on_a_processor_without_avx512() -> None:
    # Both, or OpenVINO's own kernels and those of its oneDNN disagree about the processor (openvino#36980).
    limits = {"OV_CPU_MAX_ISA": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
    process = subprocess.run(
        [sys.executable, "-c", OLD_PROCESSOR], env=os.environ | limits, cwd=ROOT, capture_output=True, timeout=100
    )
    assert process.returncode == 0, process.stderr.decode()
    reports = [json.loads(line) for line in process.stdout.splitlines()]
    assert len(reports) == len(BackboneName)
    for report in reports:
        # The limit was obeyed: no kernel is of AVX-512, the convolutions are of AVX2.
        assert not [kernel for kernel in report["kernels"] if "avx512" in kernel or "bf16" in kernel]
        assert [kernel for kernel in report["kernels"] if "conv_avx2" in kernel]
        assert report["precision"] == "float32"
        assert report["error"] < ROUNDING


def test_nothing_is_reported_to_anybody(tmp_path: Path) -> None:
    # Merely imported, OpenVINO counts itself in the home directory, and tells its makers.
    script = "import sys, service.network.compiled; print([name for name in sys.modules if 'telemetry' in name])"
    environment = {name: value for name, value in os.environ.items() if name != "CI"} | {"HOME": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert "openvino_telemetry.main" not in run.stdout
    assert (run.stderr, list(tmp_path.iterdir())) == ("", [])
