import pytest
import torch
from torch import Tensor

from service.engine.cpu import CpuDevice
from service.engine.device import buckets
from service.network.colorizer import Colorizer


@pytest.fixture
def lightness() -> list[Tensor]:
    return list(torch.rand(3, 1, 224, 224, generator=torch.Generator().manual_seed(2)) * 100)


@pytest.fixture(scope="module")
def device(mobilenet_colorizer: Colorizer) -> CpuDevice:
    return CpuDevice({"mobilenet_v2": mobilenet_colorizer}, "float32", threads=1)


def test_results_come_in_order_and_equal_single_ones(device: CpuDevice, lightness: list[Tensor]) -> None:
    batch = device.launch("mobilenet_v2", lightness)()
    assert [tuple(ab.shape) for ab in batch] == [(2, 224, 224)] * 3
    for one, ab in zip(lightness, batch, strict=True):
        torch.testing.assert_close(device.launch("mobilenet_v2", [one])()[0], ab, atol=0.01, rtol=0)


def test_pictures_with_hints_and_without_share_a_batch(second_colorizer: Colorizer, lightness: list[Tensor]) -> None:
    device = CpuDevice({"mobilenet_v2": second_colorizer}, "float32", threads=1)
    hints = torch.zeros(3, 224, 224)
    hints[:, 100:109, 100:109] = torch.tensor([60.0, 40.0, 1.0]).view(3, 1, 1)
    hinted = torch.cat((lightness[1], hints))
    answers = device.launch("mobilenet_v2", [lightness[0], hinted, lightness[2]])()
    expected = [second_colorizer.predict(one[None]) for one in lightness]
    expected[1] = second_colorizer.predict(lightness[1][None], hints[None])
    torch.testing.assert_close(torch.stack(answers), torch.cat(expected), atol=0.01, rtol=0)


def test_two_may_be_launched_before_the_first_is_collected(device: CpuDevice, lightness: list[Tensor]) -> None:
    """None of it is computed before its turn, so this needs no more memory than one."""
    first, second = (device.launch("mobilenet_v2", [one]) for one in lightness[:2])
    together = device.launch("mobilenet_v2", lightness[:2])()
    torch.testing.assert_close([first()[0], second()[0]], together, atol=0.01, rtol=0)


def test_it_tells_what_it_is(device: CpuDevice) -> None:
    assert (device.name, device.lead_s, device.memory_bytes()) == ("cpu", None, None)
    assert (device.precision("mobilenet_v2"), device.path("mobilenet_v2")) == ("float32", "openvino")


def test_an_answer_that_is_not_finite_is_an_error(device: CpuDevice, lightness: list[Tensor]) -> None:
    with pytest.raises(FloatingPointError):
        device.launch("mobilenet_v2", [lightness[0], lightness[1] * torch.nan])()
    assert len(device.launch("mobilenet_v2", lightness)()) == 3


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
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

    monkeypatch.setattr("service.network.compiled.CompiledColorizer.predict", fail)
    with pytest.raises(MemoryError):
        device.launch("mobilenet_v2", lightness)()


def test_other_errors_stay_what_they_are(device: CpuDevice) -> None:
    with pytest.raises(ValueError, match="shape"):
        device.launch("mobilenet_v2", [torch.zeros(1, 224, 224), torch.zeros(1, 5, 5)])()


@pytest.mark.parametrize(("largest", "sizes"), [(1, [1]), (4, [1, 2, 4]), (6, [1, 2, 4, 6])])
def test_warm_up_runs_and_times_every_bucket_of_every_backbone(
    mobilenet_colorizer: Colorizer, largest: int, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    device = CpuDevice({"mobilenet_v2": mobilenet_colorizer, "resnet101": mobilenet_colorizer}, "float32", threads=1)
    ran: list[int] = []

    def run(_colorizer: object, lightness: Tensor, _hints: Tensor | None) -> Tensor:
        ran.append(len(lightness))
        return torch.zeros(len(lightness), 2, 224, 224)

    monkeypatch.setattr("service.network.compiled.CompiledColorizer.predict", run)
    seconds = device.warm_up(largest)
    assert {name: list(by_size) for name, by_size in seconds.items()} == {"mobilenet_v2": sizes, "resnet101": sizes}
    assert all(0 < value < 60 for by_size in seconds.values() for value in by_size.values())
    # Each twice: the second run is the one whose time is told.
    assert ran == [size for _ in range(2) for size in sizes for _ in range(2)]


@pytest.mark.parametrize(
    ("largest", "sizes"), [(1, [1]), (2, [1, 2]), (8, [1, 2, 4, 8]), (100, [1, 2, 4, 8, 16, 32, 64, 100])]
)
def test_buckets_are_powers_of_two_and_the_largest(largest: int, sizes: list[int]) -> None:
    assert buckets(largest) == sizes
    assert buckets(256)[-2:] == [128, 256]
