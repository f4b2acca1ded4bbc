"""The lanes as the device: what they run together, and on how many cores."""

import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from service.engine.batcher import Answer, MicroBatcher
from service.engine.batches import MAX_FAILURES_IN_A_ROW
from service.engine.costs import BatchCosts
from service.engine.errors import ClosedError, InferenceError, WorkerDeadError
from service.engine.lanes import Lanes
from service.engine.worker import LaneWorker
from service.telemetry.metrics import Metrics
from tests.unit.engine.gated_device import TIMEOUT_S, GatedDevice
from tests.unit.engine.lane_work import submit

Outcome = list[Answer[str]] | Exception


@dataclass
class Cores:
    """Two gated devices, for batches on one core and on many."""

    on_one_core: GatedDevice = field(default_factory=GatedDevice)
    on_many_cores: GatedDevice = field(default_factory=lambda: GatedDevice(cores=2))


class Waiting:
    """Somebody who waits for answers."""

    def __init__(self) -> None:
        self.outcome: Outcome | None = None
        self._told = threading.Event()

    def __call__(self, outcome: Outcome) -> None:
        assert self.outcome is None
        self.outcome = outcome
        self._told.set()

    @property
    def result(self) -> str:
        """The one answer."""
        assert self._told.wait(TIMEOUT_S)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        assert self.outcome is not None
        (answer,) = self.outcome
        return answer.result


@dataclass
class Service:
    """All that takes part."""

    batcher: MicroBatcher[str, str]
    lanes: Lanes
    cores: Cores
    worker: LaneWorker[str, str]

    def submit(self, item: str, order: float = 0.0, key: str = "left") -> Waiting:
        """As a line on a lane does."""
        waiting = Waiting()
        self.batcher.submit([key], item, waiting, order)
        return waiting

    def occupy(self, device: GatedDevice, item: str) -> Waiting:
        """Has a lane run a batch of one, and wait in it."""
        waiting = self.submit(item)
        device.wait_for_start()
        return waiting


Make = Callable[..., Service]


@pytest.fixture
def make(metrics: Metrics) -> Iterator[Make]:
    made: list[Service] = []

    def make(
        lanes: int = 2, seconds: dict[int, float] | None = None, alone: float = 1.0, max_batch_size: int = 4
    ) -> Service:
        one, many = (
            BatchCosts(dict.fromkeys(("left", "right"), costs)) for costs in (seconds or {1: 10.0}, {1: alone})
        )
        batcher: MicroBatcher[str, str] = MicroBatcher(["left", "right"], max_batch_size, max_wait_s=0)
        service = Service(batcher, Lanes(lanes), Cores(), None)  # type: ignore[arg-type]
        service.worker = LaneWorker(batcher, service.lanes, service.cores, one, many, metrics)
        service.worker.start()
        service.lanes.start()
        made.append(service)
        return service

    yield make
    for service in made:
        for device in (service.cores.on_one_core, service.cores.on_many_cores):
            device.open()
            for _ in range(10):
                device.finish()
        service.lanes.close(TIMEOUT_S)
        assert not service.lanes.alive


def test_a_photograph_alone_gets_many_cores(make: Make) -> None:
    service = make()
    service.cores.on_many_cores.open()
    assert service.submit("a").result == "A"
    assert service.cores.on_one_core.batches == []


def test_not_if_that_takes_longer(make: Make) -> None:
    service = make(alone=11.0)
    service.cores.on_one_core.open()
    assert service.submit("a").result == "A"
    assert service.cores.on_many_cores.batches == []


def test_but_now_and_then_it_is_tried_again(make: Make) -> None:
    """Else one bad moment would decide for ever: what is not used is not measured."""
    service = make(alone=11.0)
    for device in (service.cores.on_one_core, service.cores.on_many_cores):
        device.open()
    for _ in range(100):
        assert service.submit("a").result == "A"
        submit(service.lanes, 9, int).result(TIMEOUT_S)  # the lane is free again
    assert len(service.cores.on_many_cores.batches) == 1


def test_who_was_answered_does_not_wait_for_the_garbage_collector(make: Make) -> None:
    """A photograph's answer may be tens of megabytes, which the budget counts as given back."""
    service = make(lanes=1)
    for device in (service.cores.on_one_core, service.cores.on_many_cores):
        device.open()
    gc.disable()
    try:
        waiting = service.submit("a")
        assert waiting.result == "A"
        submit(service.lanes, 9, int).result(TIMEOUT_S)
        gone = weakref.ref(waiting)
        del waiting
        assert gone() is None
    finally:
        gc.enable()


def test_nor_while_another_lane_works(make: Make) -> None:
    service = make()
    begun, ended = threading.Event(), threading.Event()

    def decode() -> None:
        begun.set()
        assert ended.wait(TIMEOUT_S)

    service.lanes.post(0, decode)
    assert begun.wait(TIMEOUT_S)
    service.cores.on_one_core.open()
    assert service.submit("a").result == "A"
    ended.set()
    assert service.cores.on_many_cores.batches == []


def test_many_cores_are_kept_from_other_work(make: Make) -> None:
    """Cores that are not all there make all of them wait."""
    service = make(lanes=2)
    many, one = service.cores.on_many_cores, service.cores.on_one_core
    first = service.occupy(many, "first")
    done = threading.Event()
    service.lanes.post(1, done.set)
    second = service.submit("second")
    one.open()
    assert service.lanes.spare == 0
    assert not done.is_set()
    assert one.batches == []
    many.finish()
    assert [first.result, second.result] == ["FIRST", "SECOND"]
    assert done.wait(TIMEOUT_S)


def test_lanes_run_batches_side_by_side(make: Make) -> None:
    service = make(lanes=3)  # the first has two cores
    many, one = service.cores.on_many_cores, service.cores.on_one_core
    first = service.occupy(many, "first")
    second = service.occupy(one, "second")
    for device in (one, many):
        device.finish()
    assert [first.result, second.result] == ["FIRST", "SECOND"]


def test_what_waits_is_run_together_where_that_pays(make: Make) -> None:
    service = make(lanes=1, seconds={1: 10.0, 2: 12.0, 4: 14.0})
    many, one = service.cores.on_many_cores, service.cores.on_one_core
    first = service.occupy(many, "first")
    waiting = [service.submit(item, order=i) for i, item in enumerate("abcde")]
    one.open()
    many.open()
    assert [first.result, *(one.result for one in waiting)] == ["FIRST", *"ABCDE"]
    assert one.batches == [("left", ["a", "b", "c", "d"]), ("left", ["e"])]


def test_and_alone_where_it_does_not(make: Make) -> None:
    service = make(lanes=1, seconds={1: 10.0, 2: 21.0})
    first = service.occupy(service.cores.on_many_cores, "first")
    waiting = [service.submit(item, order=i) for i, item in enumerate("ab")]
    for device in (service.cores.on_one_core, service.cores.on_many_cores):
        device.open()
    assert [first.result, *(one.result for one in waiting)] == ["FIRST", "A", "B"]
    assert all(len(items) == 1 for _, items in service.cores.on_one_core.batches)


def test_the_oldest_request_goes_first_whatever_its_backbone(make: Make) -> None:
    service = make(lanes=1)
    first = service.occupy(service.cores.on_many_cores, "first")
    late = service.submit("late", order=3)
    early = service.submit("early", order=1, key="right")
    for device in (service.cores.on_one_core, service.cores.on_many_cores):
        device.open()
    assert [first.result, early.result, late.result] == ["FIRST", "EARLY", "LATE"]
    batches = service.cores.on_one_core.batches + service.cores.on_many_cores.batches[1:]
    assert batches == [("right", ["early"]), ("left", ["late"])]


def test_newcomers_are_fetched_into_a_batch_that_pays_and_no_more_of_them(make: Make) -> None:
    service = make(lanes=1, seconds={1: 10.0, 2: 12.0})
    decoded: list[str] = []
    waiting: list[Waiting] = []

    def decode(item: str, order: float) -> None:
        decoded.append(item)
        waiting.append(service.submit(item, order))

    first = service.occupy(service.cores.on_many_cores, "first")
    waiting.append(service.submit("a", order=1))
    for arrived, item in ((2.0, "b"), (3.0, "c")):
        service.lanes.post(arrived, lambda item=item, order=arrived: decode(item, order), ["left"])  # type: ignore[misc]
    service.lanes.post(4, lambda: decode("other", 4), ["right"])
    service.cores.on_one_core.open()
    service.cores.on_many_cores.open()
    assert first.result == "FIRST"
    submit(service.lanes, 9, int).result(TIMEOUT_S)
    assert [one.result for one in waiting] == ["A", "B", "C", "OTHER"]
    assert decoded == ["b", "c", "other"]
    assert service.cores.on_one_core.batches[0] == ("left", ["a", "b"])


def test_a_failure_is_alone_with_its_cause(make: Make) -> None:
    service = make(lanes=1, seconds={1: 10.0, 4: 11.0})
    first = service.occupy(service.cores.on_many_cores, "first")
    waiting = {item: service.submit(item, order=i) for i, item in enumerate(["a", "bad", "c", "d"])}
    for device in (service.cores.on_one_core, service.cores.on_many_cores):
        device.open()
    with pytest.raises(InferenceError):
        _ = waiting.pop("bad").result
    assert [first.result, *(one.result for one in waiting.values())] == ["FIRST", "A", "C", "D"]


def test_costs_are_learnt_of_the_cores_that_were_used(make: Make, metrics: Metrics) -> None:
    service = make(lanes=1, seconds={1: 10.0, 2: 30.0}, alone=9.0)
    for device in (service.cores.on_one_core, service.cores.on_many_cores):
        device.open()
    for _ in range(40):  # in no time, which soon makes many cores far cheaper than one
        service.submit("a").result  # noqa: B018
    assert service.cores.on_one_core.batches == []
    assert metrics.registry.get_sample_value("autochrome_batches_total", {"backbone": "left", "outcome": "ok"}) == 40


def test_a_device_that_only_fails_is_seen_and_nobody_hangs(make: Make) -> None:
    service = make(lanes=1)
    service.cores.on_many_cores.open()
    for _ in range(MAX_FAILURES_IN_A_ROW):
        assert service.worker.alive
        with pytest.raises(InferenceError):
            service.submit("bad").result  # noqa: B018
    while service.worker.alive:
        pass
    with pytest.raises(WorkerDeadError):
        service.submit("late")


def test_a_deadly_batch_fails_all_who_wait(make: Make) -> None:
    service = make(lanes=1)
    deadly = service.occupy(service.cores.on_many_cores, "deadly")
    waiting = service.submit("a")
    service.cores.on_many_cores.open()
    for one in (deadly, waiting):
        with pytest.raises(WorkerDeadError):
            one.result  # noqa: B018
    assert not service.worker.alive


def test_a_closed_batcher_finishes_its_queue(make: Make) -> None:
    service = make(lanes=1)
    first = service.occupy(service.cores.on_many_cores, "first")
    waiting = service.submit("a")
    service.batcher.close()
    with pytest.raises(ClosedError):
        service.submit("late")
    for device in (service.cores.on_one_core, service.cores.on_many_cores):
        device.open()
    assert [first.result, waiting.result] == ["FIRST", "A"]
