import pytest
import torch
from torch import Tensor

from service.engine.device import Device
from service.network.colorizer import Colorizer


@pytest.fixture
def lightness() -> list[Tensor]:
    return list(torch.rand(3, 1, 224, 224, generator=torch.Generator().manual_seed(2)) * 100)


def test_results_come_in_order_and_equal_single_ones(mobilenet_colorizer: Colorizer, lightness: list[Tensor]) -> None:
    device = Device({"mobilenet_v2": mobilenet_colorizer}, "cpu", "float32")
    batch = device.run_batch("mobilenet_v2", lightness)
    assert [tuple(ab.shape) for ab in batch] == [(2, 224, 224)] * 3
    for one, ab in zip(lightness, batch, strict=True):
        torch.testing.assert_close(device.run_batch("mobilenet_v2", [one])[0], ab, atol=0.01, rtol=0)


def test_bfloat16_stays_close_to_float32(mobilenet_colorizer: Colorizer, lightness: list[Tensor]) -> None:
    exact = Device({"mobilenet_v2": mobilenet_colorizer}, "cpu", "float32").run_batch("mobilenet_v2", lightness)
    rough = Device({"mobilenet_v2": mobilenet_colorizer}, "cpu", "bfloat16").run_batch("mobilenet_v2", lightness)
    assert all(ab.dtype == torch.float32 for ab in rough)
    error = (torch.stack(rough) - torch.stack(exact)).abs().mean()
    assert 0 < error < 2


def test_auto_is_float32_on_a_cpu(mobilenet_colorizer: Colorizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    device = Device({"mobilenet_v2": mobilenet_colorizer}, "auto", "auto")
    assert (device.name, device.precision, device.memory_bytes()) == ("cpu", "float32", None)


def test_an_answer_that_is_not_finite_is_an_error(mobilenet_colorizer: Colorizer, lightness: list[Tensor]) -> None:
    device = Device({"mobilenet_v2": mobilenet_colorizer}, "cpu", "float32")
    with pytest.raises(FloatingPointError):
        device.run_batch("mobilenet_v2", [lightness[0], lightness[1] * torch.nan])


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 12345 bytes."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 12345 bytes."),
    ],
)
def test_torch_out_of_memory_is_a_memory_error(
    mobilenet_colorizer: Colorizer, lightness: list[Tensor], error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = Device({"mobilenet_v2": mobilenet_colorizer}, "cpu", "float32")

    def fail(_lightness: Tensor) -> Tensor:
        raise error

    monkeypatch.setattr(mobilenet_colorizer, "predict", fail)
    with pytest.raises(MemoryError):
        device.run_batch("mobilenet_v2", lightness)


def test_other_runtime_errors_stay_what_they_are(mobilenet_colorizer: Colorizer) -> None:
    with pytest.raises(RuntimeError, match="size"):
        Device({"mobilenet_v2": mobilenet_colorizer}, "cpu", "float32").run_batch(
            "mobilenet_v2", [torch.zeros(1, 224, 224), torch.zeros(1, 5, 5)]
        )


@pytest.mark.parametrize(("largest", "sizes"), [(1, [1]), (4, [1, 2, 4]), (6, [1, 2, 4, 6])])
def test_warm_up_runs_every_bucket_of_every_backbone(
    mobilenet_colorizer: Colorizer, largest: int, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    device = Device({"mobilenet_v2": mobilenet_colorizer, "resnet101": mobilenet_colorizer}, "cpu", "float32")
    ran: list[tuple[str, int]] = []
    monkeypatch.setattr(device, "run_batch", lambda backbone, lightness: ran.append((backbone, len(lightness))))
    seconds = device.warm_up(largest)
    # The largest once more: that is the one whose time is told.
    assert ran == [(backbone, size) for backbone in ("mobilenet_v2", "resnet101") for size in [*sizes, largest]]
    assert seconds.keys() == {"mobilenet_v2", "resnet101"}
