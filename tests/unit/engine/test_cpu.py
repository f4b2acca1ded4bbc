"""The networks on the CPU: each lane's own, many cores for one, and what warm-up chooses."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from service.engine.costs import BatchCosts
from service.engine.cpu import CpuDevice
from service.engine.device import buckets
from service.network.colorizer import Colorizer
from service.network.compiled import CompiledColorizer


@pytest.fixture
def lightness() -> list[Tensor]:
    return list(torch.rand(3, 1, 224, 224, generator=torch.Generator().manual_seed(2)) * 100)


@pytest.fixture(scope="module")
def device(mobilenet_colorizer: Colorizer) -> CpuDevice:
    """With one lane, so that one core is all cores."""
    return CpuDevice({"mobilenet_v2": mobilenet_colorizer}, "float32", lanes=1)


@pytest.fixture(scope="module")
def two_lanes(mobilenet_colorizer: Colorizer) -> CpuDevice:
    device = CpuDevice({"mobilenet_v2": mobilenet_colorizer}, "float32", lanes=2)
    device.warm_up(2)
    return device


def test_results_come_in_order_and_equal_single_ones(two_lanes: CpuDevice, lightness: list[Tensor]) -> None:
    for launcher in (two_lanes.on_one_core, two_lanes.on_many_cores):
        batch = launcher.launch("mobilenet_v2", lightness)()
        assert [tuple(answer.shape) for answer in batch] == [(3, 224, 224)] * 3
        for one, answer in zip(lightness, batch, strict=True):
            torch.testing.assert_close(launcher.launch("mobilenet_v2", [one])()[0], answer, atol=0.01, rtol=0)


def test_every_lane_can_run_a_batch_at_the_same_time(two_lanes: CpuDevice, lightness: list[Tensor]) -> None:
    """And none gets another's answer."""
    expected = [two_lanes.on_one_core.launch("mobilenet_v2", [one])()[0] for one in lightness[:2]]
    barrier = threading.Barrier(2)

    def run(one: Tensor) -> list[Tensor]:
        barrier.wait(20)
        return [two_lanes.on_one_core.launch("mobilenet_v2", [one])()[0] for _ in range(10)]

    with ThreadPoolExecutor(2) as pool:
        for answers, alone in zip(pool.map(run, lightness[:2]), expected, strict=True):
            for answer in answers:
                torch.testing.assert_close(answer, alone, atol=0.01, rtol=0)


def test_pictures_with_hints_and_without_share_a_batch(second_colorizer: Colorizer, lightness: list[Tensor]) -> None:
    device = CpuDevice({"mobilenet_v2": second_colorizer}, "float32", lanes=1)
    hints = torch.zeros(3, 224, 224)
    hints[:, 100:109, 100:109] = torch.tensor([60.0, 40.0, 1.0]).view(3, 1, 1)
    hinted = torch.cat((lightness[1], hints))
    answers = device.on_one_core.launch("mobilenet_v2", [lightness[0], hinted, lightness[2]])()
    expected = [second_colorizer.predict_with_error(one[None]) for one in lightness]
    expected[1] = second_colorizer.predict_with_error(lightness[1][None], hints[None])
    torch.testing.assert_close(torch.stack(answers), torch.cat(expected), atol=0.01, rtol=0)


def test_it_tells_what_it_is(device: CpuDevice) -> None:
    assert (device.name, device.memory_bytes(), device.cores_alone("mobilenet_v2")) == ("cpu", None, 1)
    assert (device.precision("mobilenet_v2"), device.path("mobilenet_v2")) == ("float32", "openvino")


def test_an_answer_that_is_not_finite_is_an_error(device: CpuDevice, lightness: list[Tensor]) -> None:
    launcher = device.on_one_core
    with pytest.raises(FloatingPointError):
        launcher.launch("mobilenet_v2", [lightness[0], lightness[1] * torch.nan])()
    assert len(launcher.launch("mobilenet_v2", lightness)()) == 3


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 12345 bytes."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 12345 bytes."),
        RuntimeError("Exception from src/inference/src/cpp/infer_request.cpp:223:\nstd::bad_alloc\n"),
    ],
)
def test_running_out_of_memory_is_a_memory_error(
    device: CpuDevice, lightness: list[Tensor], error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object) -> Tensor:
        raise error

    monkeypatch.setattr("service.network.compiled.CompiledColorizer.predict_with_error", fail)
    with pytest.raises(MemoryError):
        device.on_one_core.launch("mobilenet_v2", lightness)()


def test_other_errors_stay_what_they_are(device: CpuDevice) -> None:
    with pytest.raises(ValueError, match="shape"):
        device.on_one_core.launch("mobilenet_v2", [torch.zeros(1, 224, 224), torch.zeros(1, 5, 5)])()


class Stopwatch:
    """In place of the network: takes what the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds: dict[tuple[int, int], float] = {}
        """By batch size and cores."""
        self.ran: list[tuple[int, int]] = []
        self.now = 0.0
        monkeypatch.setattr(CompiledColorizer, "predict_with_error", lambda *args: self.predict(*args))
        monkeypatch.setattr("service.engine.cpu.time.monotonic", lambda: self.now)

    def predict(self, _colorizer: object, lightness: Tensor, _hints: object, cores: int) -> Tensor:
        self.ran.append((len(lightness), cores))
        self.now += self.seconds[len(lightness), cores]
        return torch.zeros(len(lightness), 3, 224, 224)


@pytest.fixture
def stopwatch(monkeypatch: pytest.MonkeyPatch) -> Stopwatch:
    return Stopwatch(monkeypatch)


def warm_up(colorizer: Colorizer, lanes: int, max_batch_size: int) -> tuple[CpuDevice, BatchCosts, BatchCosts]:
    device = CpuDevice({"mobilenet_v2": colorizer}, "float32", lanes)
    return device, *device.warm_up(max_batch_size)


def test_warm_up_tries_larger_batches_until_one_does_not_pay(
    mobilenet_colorizer: Colorizer, stopwatch: Stopwatch
) -> None:
    stopwatch.seconds = {(1, 1): 1.0, (2, 1): 1.5, (4, 1): 2.95}
    device, costs, _ = warm_up(mobilenet_colorizer, lanes=1, max_batch_size=8)
    assert costs.measured("mobilenet_v2") == {1: 1.0, 2: 1.5}
    assert {size for size, _ in stopwatch.ran} == {1, 2, 4}
    # What did not pay is not kept: it is code, and weights.
    (colorizer,) = device.on_one_core.colorizers.values()
    assert set(colorizer.prepared) == {(1, 1), (2, 1)}


def test_warm_up_goes_no_further_than_it_may(mobilenet_colorizer: Colorizer, stopwatch: Stopwatch) -> None:
    stopwatch.seconds = {(1, 1): 1.0, (2, 1): 1.5, (3, 1): 1.6}
    _, costs, _ = warm_up(mobilenet_colorizer, lanes=1, max_batch_size=3)
    assert costs.measured("mobilenet_v2") == pytest.approx({1: 1.0, 2: 1.5, 3: 1.6})


def test_a_photograph_alone_gets_the_cores_that_take_the_least_time(
    mobilenet_colorizer: Colorizer, stopwatch: Stopwatch
) -> None:
    stopwatch.seconds = {(1, 1): 4.0, (2, 1): 9.0, (1, 16): 3.0, (1, 4): 1.5}
    device, _, costs_alone = warm_up(mobilenet_colorizer, lanes=16, max_batch_size=2)
    assert device.cores_alone("mobilenet_v2") == 4
    assert costs_alone.predict("mobilenet_v2", 1) == pytest.approx(1.5)
    (colorizer,) = device.on_many_cores.colorizers.values()
    assert set(colorizer.prepared) == {(1, 1), (1, 4)}


def test_one_core_is_timed_with_all_lanes_at_work(mobilenet_colorizer: Colorizer, stopwatch: Stopwatch) -> None:
    stopwatch.seconds = {(1, 1): 1.0, (2, 1): 9.0, (1, 2): 0.6}
    warm_up(mobilenet_colorizer, lanes=2, max_batch_size=2)
    assert stopwatch.ran.count((1, 1)) == 2 * stopwatch.ran.count((1, 2))  # by both lanes


@pytest.mark.parametrize(
    ("largest", "sizes"), [(1, [1]), (2, [1, 2]), (8, [1, 2, 4, 8]), (100, [1, 2, 4, 8, 16, 32, 64, 100])]
)
def test_buckets_are_powers_of_two_and_the_largest(largest: int, sizes: list[int]) -> None:
    assert buckets(largest) == sizes
    assert buckets(256)[-2:] == [128, 256]
