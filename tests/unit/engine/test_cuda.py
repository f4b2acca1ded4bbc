"""The GPU's pipeline on a simulation of CUDA: streams that do their work as late and in as odd an order as they may."""

import itertools
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from service.engine.cuda import Cuda, CudaDevice, MixedColorizer
from service.network.backbones import BackboneName
from service.network.colorizer import Colorizer
from tests.conftest import build_colorizer, randomize


@dataclass(eq=False)
class FakeEvent:
    """How often it was recorded, and which of those the device has come to."""

    recorded: int = 0
    reached: int = 0


@dataclass(eq=False)
class FakeStream:
    """Work that is not done yet: each piece with what it needs to have happened, an event and its count."""

    work: "deque[tuple[Callable[[], object], FakeEvent | None, int]]" = field(default_factory=deque)

    def ready(self) -> bool:
        if not self.work:
            return False
        _, event, count = self.work[0]
        return event is None or event.reached >= count


class FakeCuda(Cuda):
    """A device on the CPU that does one piece of work at a time: `choose` takes one of the streams that may go on.

    `eagerness`: how many pieces it does after each that it is given; with 0 it works only when the host waits.
    """

    def __init__(
        self,
        choose: Callable[[list[FakeStream]], FakeStream] = lambda streams: streams[0],
        eagerness: Callable[[], int] = lambda: 0,
    ) -> None:
        self.streams: list[FakeStream] = []
        self.deaf: set[int] = set()  # streams, by number, that wait for nothing
        self.hasty = False  # the host waits for nothing
        self.copies_left = math.inf  # the copies after those fail
        self._choose = choose
        self._eagerness = eagerness

    def place(self, network: nn.Module) -> nn.Module:
        return network.to(memory_format=torch.channels_last)

    def device_buffer(self, *shape: int) -> Tensor:
        return torch.zeros(*shape)

    def host_buffer(self, *shape: int) -> Tensor:
        return torch.zeros(*shape)

    def new_stream(self) -> FakeStream:
        self.streams.append(FakeStream())
        return self.streams[-1]

    def new_event(self) -> FakeEvent:
        return FakeEvent()

    def copy(self, stream: FakeStream, target: Tensor, source: Tensor) -> None:
        assert target.shape == source.shape
        assert target.is_contiguous()
        assert source.is_contiguous()
        if self.copies_left == 0:
            raise RuntimeError("broken copy")
        self.copies_left -= 1
        self._put(stream, partial(target.copy_, source))

    def replay(self, stream: FakeStream, graph: Callable[[], object]) -> None:
        self._put(stream, graph)

    def record(self, stream: FakeStream, event: FakeEvent) -> None:
        event.recorded += 1
        self._put(stream, partial(setattr, event, "reached", event.recorded))

    def wait(self, stream: FakeStream, event: FakeEvent) -> None:
        if self.streams.index(stream) not in self.deaf:
            self._put(stream, lambda: None, event)

    def wait_on_host(self, event: FakeEvent) -> None:
        while event.reached < event.recorded and not self.hasty:
            assert self._step(), "the host would wait for ever"

    def synchronize(self) -> None:
        while self._step():
            pass
        assert not any(stream.work for stream in self.streams)

    def capture(self, stream: FakeStream, function: Callable[[], object]) -> Callable[[], object]:  # noqa: ARG002
        self.synchronize()
        function()
        return torch.inference_mode()(function)

    def memory_bytes(self) -> int:
        return 12345

    def _put(self, stream: FakeStream, work: Callable[[], object], event: FakeEvent | None = None) -> None:
        stream.work.append((work, event, event.recorded if event else 0))
        for _ in range(self._eagerness()):
            self._step()

    def _step(self) -> bool:
        ready = [stream for stream in self.streams if stream.ready()]
        if ready:
            work, _, _ = self._choose(ready).work.popleft()
            work()
        return bool(ready)


def by_priority(order: tuple[int, ...]) -> FakeCuda:
    """Always goes on with the first stream of `order` that may."""
    cuda = FakeCuda(lambda ready: min(ready, key=lambda stream: order[cuda.streams.index(stream)]))
    return cuda


def by_chance(seed: int) -> FakeCuda:
    """Goes on anywhere, at any time."""
    chance = random.Random(seed)
    return FakeCuda(chance.choice, lambda: chance.randint(0, 4))


SCHEDULES = [
    *(partial(by_priority, order) for order in itertools.permutations(range(3))),
    *(partial(by_chance, seed) for seed in range(20)),
]


class Tint(nn.Module):
    """In the network's place: a*, b* and the error are multiples of L*: every answer tells what it was made of.

    Hinted a* is added to a*.
    """

    def __init__(self, factor: float, takes_hints: bool) -> None:
        super().__init__()
        self.takes_hints = takes_hints
        self.factor = factor
        self.ran: list[int] = []
        self.fits = 1000

    def forward(self, canvases: Tensor) -> Tensor:
        if len(canvases) > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.ran.append(len(canvases))
        lightness, a = canvases[:, :1], canvases[:, 1:2]
        return torch.cat((lightness * self.factor + a, -lightness, lightness / 4), dim=1)


@pytest.fixture
def tints(monkeypatch: pytest.MonkeyPatch, mobilenet_colorizer: Colorizer) -> dict[str, Tint]:
    """Stands in for the networks "left" and "right"."""
    tints = {"left": Tint(0.5, takes_hints=True), "right": Tint(2, takes_hints=False)}
    made = itertools.cycle(tints.values())
    monkeypatch.setattr("service.engine.cuda.MixedColorizer", lambda _colorizer, _dtype: next(made))
    return tints


@pytest.fixture
def make_device(tints: dict[str, Tint], mobilenet_colorizer: Colorizer) -> Callable[[FakeCuda], CudaDevice]:
    """A warmed-up device for batches of up to four."""

    def make(cuda: FakeCuda) -> CudaDevice:
        device = CudaDevice(dict.fromkeys(tints, mobilenet_colorizer), "auto", cuda)
        device.warm_up(4)
        for tint in tints.values():
            tint.ran.clear()
        return device

    return make


def pictures(*levels: float) -> list[Tensor]:
    return [torch.full((1, 224, 224), level) for level in levels]


def levels(answers: list[Tensor]) -> list[tuple[float, float]]:
    """Of each answer a* and b*, which must be the same at all pixels, and the error that belongs to them."""
    assert all(answer.shape == (3, 224, 224) and answer.dtype == torch.float32 for answer in answers)
    assert all((answer == answer[:, :1, :1]).all() for answer in answers)
    assert all(torch.equal(answer[2], answer[1] / -4) for answer in answers)
    return [(answer[0, 0, 0].item(), answer[1, 0, 0].item()) for answer in answers]


def answers_are_right(device: CudaDevice) -> bool:
    """Whether a train of batches, two of them under way at any time, gives what it must."""
    batches = [("left", [10, 11]), ("right", [20, 21, 22]), ("left", [30]), ("left", [40, 41, 42, 43]), ("right", [50])]
    factors = {"left": 0.5, "right": 2.0}
    under_way: deque[tuple[Callable[[], list[Tensor]], list[tuple[float, float]]]] = deque()
    right = True
    for backbone, values in batches * 2:
        if len(under_way) == 2:
            collect, expected = under_way.popleft()
            right &= levels(collect()) == expected
        expected = [(value * factors[backbone], float(-value)) for value in values]
        under_way.append((device.launch(backbone, pictures(*values)), expected))
    return right and all(levels(collect()) == expected for collect, expected in under_way)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_answers_are_right_whatever_the_streams_do_first(
    make_device: Callable[[FakeCuda], CudaDevice], schedule: Callable[[], FakeCuda]
) -> None:
    assert answers_are_right(make_device(schedule()))


@pytest.mark.parametrize("fault", ["compute is deaf", "copy-out is deaf", "the host is hasty", "one slot for two"])
def test_the_simulation_finds_a_missing_wait(make_device: Callable[[FakeCuda], CudaDevice], fault: str) -> None:
    def found(schedule: Callable[[], FakeCuda]) -> bool:
        cuda = schedule()
        device = make_device(cuda)
        if fault == "compute is deaf":
            cuda.deaf = {1}
        elif fault == "copy-out is deaf":
            cuda.deaf = {2}
        elif fault == "the host is hasty":
            cuda.hasty = True
        else:
            device._free = [device._free[0]] * 2
        return not answers_are_right(device)

    assert sum(found(schedule) for schedule in SCHEDULES) >= 5


def test_a_batch_runs_in_the_smallest_bucket_that_holds_it(
    make_device: Callable[[FakeCuda], CudaDevice], tints: dict[str, Tint]
) -> None:
    device = make_device(FakeCuda())
    for size in (1, 2, 3, 4):
        device.launch("right", pictures(*range(size)))()
    assert (tints["right"].ran, tints["left"].ran) == ([1, 2, 4, 4], [])


def test_hints_are_of_their_own_picture_and_gone_with_it(make_device: Callable[[FakeCuda], CudaDevice]) -> None:
    device = make_device(FakeCuda())
    hinted = torch.full((4, 224, 224), 7.0)
    for _ in range(2):  # in both slots
        assert levels(device.launch("left", [*pictures(10), hinted])()) == [(5, -10), (10.5, -7)]
    for _ in range(2):
        assert levels(device.launch("left", pictures(10, 20))()) == [(5, -10), (10, -20)]


def test_hints_for_a_network_that_takes_none_are_an_error(make_device: Callable[[FakeCuda], CudaDevice]) -> None:
    device = make_device(FakeCuda())
    with pytest.raises(ValueError, match="takes no hints"):
        device.launch("right", [torch.zeros(4, 224, 224)])
    assert levels(device.launch("right", pictures(10))()) == [(20, -10)]


def test_an_answer_survives_the_batches_after_it(make_device: Callable[[FakeCuda], CudaDevice]) -> None:
    device = make_device(FakeCuda())
    first = device.launch("left", pictures(60))()
    for _ in range(3):
        device.launch("left", pictures(70))()
    assert levels(first) == [(30, -60)]


def test_a_third_batch_is_refused_and_the_others_are_answered(make_device: Callable[[FakeCuda], CudaDevice]) -> None:
    device = make_device(FakeCuda())
    collects = [device.launch("left", pictures(level)) for level in (10, 20)]
    with pytest.raises(RuntimeError, match="two batches"):
        device.launch("left", pictures(30))
    assert [levels(collect()) for collect in collects] == [[(5, -10)], [(10, -20)]]


def test_an_answer_that_is_not_finite_is_an_error_and_of_its_own_batch_only(
    make_device: Callable[[FakeCuda], CudaDevice],
) -> None:
    device = make_device(FakeCuda())
    poisoned, healthy = device.launch("left", pictures(10, torch.nan)), device.launch("left", pictures(20))
    with pytest.raises(FloatingPointError):
        poisoned()
    # The rest of the poisoned buffers is padding now.
    retried = device.launch("left", pictures(10))
    assert [levels(healthy()), levels(retried())] == [[(10, -20)], [(5, -10)]]


@pytest.mark.parametrize("schedule", SCHEDULES[:6])
def test_a_launch_that_breaks_half_way_leaves_a_working_device(
    make_device: Callable[[FakeCuda], CudaDevice], schedule: Callable[[], FakeCuda]
) -> None:
    cuda = schedule()
    device = make_device(cuda)
    for working_copies in range(4):
        cuda.copies_left = working_copies
        with pytest.raises(RuntimeError, match="broken copy"):
            device.launch("left", pictures(10, 11))
        cuda.copies_left = math.inf
        assert answers_are_right(device)


def test_a_picture_of_the_wrong_shape_is_an_error_and_leaves_a_working_device(
    make_device: Callable[[FakeCuda], CudaDevice],
) -> None:
    device = make_device(FakeCuda())
    for _ in range(3):
        with pytest.raises(RuntimeError, match="size"):
            device.launch("left", [torch.zeros(1, 224, 224), torch.zeros(1, 5, 5)])
    assert answers_are_right(device)


@pytest.mark.parametrize(("largest", "sizes"), [(1, [1]), (4, [1, 2, 4]), (6, [1, 2, 4, 6])])
def test_warm_up_captures_and_times_every_bucket(
    tints: dict[str, Tint], mobilenet_colorizer: Colorizer, largest: int, sizes: list[int]
) -> None:
    device = CudaDevice(dict.fromkeys(tints, mobilenet_colorizer), "auto", FakeCuda())
    seconds = device.warm_up(largest)
    assert {name: list(by_size) for name, by_size in seconds.items()} == {"left": sizes, "right": sizes}
    assert all(value > 0 for by_size in seconds.values() for value in by_size.values())
    # The largest first: its memory serves the others, too.
    assert tints["left"].ran[: len(sizes)] == sizes[::-1]
    assert device.path("left").endswith(f"graphs of {', '.join(map(str, sizes))}")


def test_a_bucket_that_does_not_fit_is_left_out(tints: dict[str, Tint], mobilenet_colorizer: Colorizer) -> None:
    device = CudaDevice(dict.fromkeys(tints, mobilenet_colorizer), "auto", FakeCuda())
    tints["right"].fits = 2
    seconds = device.warm_up(4)
    assert (list(seconds["left"]), list(seconds["right"])) == ([1, 2, 4], [1, 2])
    with pytest.raises(MemoryError, match="3 photographs"):
        device.launch("right", pictures(1, 2, 3))
    # What the worker does then: halves.
    assert [levels(device.launch("right", half)()) for half in (pictures(1), pictures(2, 3))] == [
        [(2, -1)],
        [(4, -2), (6, -3)],
    ]


def test_a_device_without_memory_for_one_photograph_does_not_start(
    tints: dict[str, Tint], mobilenet_colorizer: Colorizer
) -> None:
    device = CudaDevice(dict.fromkeys(tints, mobilenet_colorizer), "auto", FakeCuda())
    tints["right"].fits = 0
    with pytest.raises(MemoryError):
        device.warm_up(4)


def test_auto_is_float16(mobilenet_colorizer: Colorizer) -> None:
    device = CudaDevice({"mobilenet_v2": mobilenet_colorizer}, "auto", FakeCuda())
    assert (device.name, device.precision("mobilenet_v2"), device.memory_bytes()) == ("cuda", "float16", 12345)


@pytest.mark.parametrize(("precision", "largest"), [("float32", 0.02), ("float16", 0.5), ("bfloat16", 4)])
def test_answers_are_those_of_the_colorizer(mobilenet_colorizer: Colorizer, precision: str, largest: float) -> None:
    lightness = list(torch.rand(2, 1, 224, 224, generator=torch.Generator().manual_seed(2)) * 100)
    device = CudaDevice({"mobilenet_v2": mobilenet_colorizer}, precision, FakeCuda())  # type: ignore[arg-type]
    device.warm_up(2)
    answers = torch.stack(device.launch("mobilenet_v2", lightness)())
    error = (answers - mobilenet_colorizer.predict_with_error(torch.stack(lightness))).abs().max()
    assert error <= largest
    assert (error > 0.001) == (precision != "float32")
    assert {parameter.dtype for parameter in mobilenet_colorizer.parameters()} == {torch.float32}


def test_hints_are_answered_as_the_colorizer_would(second_colorizer: Colorizer) -> None:
    canvases = torch.rand(2, 4, 224, 224, generator=torch.Generator().manual_seed(2)) * 50
    device = CudaDevice({"mobilenet_v2": second_colorizer}, "float32", FakeCuda())
    device.warm_up(2)
    answers = torch.stack(device.launch("mobilenet_v2", list(canvases))())
    expected = second_colorizer.predict_with_error(canvases[:, :1], canvases[:, 1:])
    torch.testing.assert_close(answers, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("precision", ["float32", "float16"])
@pytest.mark.parametrize("confidence", [False, True])
def test_the_chroma_map_is_in_it(confidence: bool, precision: Literal["float32", "float16"]) -> None:
    colorizer = build_colorizer(BackboneName.MOBILENET_V2, confidence=confidence, calibrated=True)
    lightness = torch.rand(2, 1, 224, 224, generator=torch.Generator().manual_seed(2)) * 100
    before = colorizer.predict_with_error(lightness)
    randomize(colorizer)
    device = CudaDevice({"mobilenet_v2": colorizer}, precision, FakeCuda())
    device.warm_up(2)
    answers = torch.stack(device.launch("mobilenet_v2", list(lightness))())
    error = (answers - colorizer.predict_with_error(lightness)).abs()
    assert error.max() < (1e-3 if precision == "float32" else 1)
    assert (answers - before).abs().max() > 1


@pytest.mark.parametrize(
    ("dtype", "stem"), [(torch.float32, torch.float32), (torch.float16, torch.float16), (torch.bfloat16, torch.float32)]
)
def test_every_convolution_gets_its_precision_and_channels_last(
    mobilenet_colorizer: Colorizer, dtype: torch.dtype, stem: torch.dtype
) -> None:
    network = FakeCuda().place(MixedColorizer(mobilenet_colorizer, dtype))
    seen: dict[str, tuple[torch.dtype, bool]] = {}

    def see(name: str, _module: nn.Module, _inputs: object, output: Tensor) -> None:
        seen[name] = output.dtype, output.is_contiguous(memory_format=torch.channels_last)

    for name, module in network.named_modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d)):
            module.register_forward_hook(partial(see, name))
        if isinstance(module, nn.BatchNorm2d):
            assert module.weight.dtype == torch.float32
    assert network(torch.rand(2, 4, 224, 224) * 100).dtype == torch.float32
    first = [name for name in seen if name.startswith("stem." if stem is not dtype else "trunk.0.")]
    assert first
    assert all(seen[name] == (stem, True) for name in first)
    assert all(seen[name] == (dtype, True) for name in seen if not name.startswith("stem."))
