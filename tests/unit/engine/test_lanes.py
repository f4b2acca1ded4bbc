"""The one order of all work: oldest first, whatever it is, on as many threads as there are lanes."""

import threading
import weakref
from collections.abc import Callable, Iterator

import pytest

from service.engine.lanes import Lanes
from tests.unit.engine.gated_device import TIMEOUT_S, Clock
from tests.unit.engine.lane_work import submit


class Gate:
    """Work that keeps a lane busy until it is opened."""

    def __init__(self) -> None:
        self.begun, self.opened = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.begun.set()
        assert self.opened.wait(TIMEOUT_S)


@pytest.fixture
def make_lanes() -> Iterator[Callable[..., Lanes]]:
    started: list[Lanes] = []

    def make(count: int = 1, **options: Clock) -> Lanes:
        lanes = Lanes(count, **options)
        lanes.start()
        started.append(lanes)
        return lanes

    yield make
    for lanes in started:
        lanes.close(TIMEOUT_S)


def busy(lanes: Lanes, count: int = 1) -> list[Gate]:
    """Keeps so many lanes busy."""
    gates = [Gate() for _ in range(count)]
    for gate in gates:
        lanes.post(0, gate, at_once=True)
    for gate in gates:
        assert gate.begun.wait(TIMEOUT_S)
    return gates


def test_the_smallest_order_goes_first_and_of_equals_the_first(make_lanes: Callable[..., Lanes]) -> None:
    lanes, done = make_lanes(), list[str]()
    (gate,) = busy(lanes)
    for order, name in ((3, "c"), (1, "a"), (2, "b"), (1, "a again")):
        lanes.post(order, lambda name=name: done.append(name))  # type: ignore[misc]
    lanes.post(5, lambda: done.append("now"), at_once=True)
    last = submit(lanes, 4, int)
    gate.opened.set()
    last.result(TIMEOUT_S)
    assert done == ["now", "a", "a again", "b", "c"]


def test_lanes_work_side_by_side(make_lanes: Callable[..., Lanes]) -> None:
    lanes, barrier = make_lanes(3), threading.Barrier(3)
    jobs = [submit(lanes, 0, lambda: barrier.wait(TIMEOUT_S)) for _ in range(3)]
    assert sorted(job.result(TIMEOUT_S) for job in jobs) == [0, 1, 2]


def test_spare_lanes_are_those_with_nothing_to_do(make_lanes: Callable[..., Lanes]) -> None:
    lanes = make_lanes(2)
    assert lanes.spare == 2
    gates = busy(lanes)
    assert lanes.spare == 1
    gates += busy(lanes)
    assert lanes.spare == 0
    waiting = submit(lanes, 0, int)
    assert lanes.spare == 0
    gates[0].opened.set()
    waiting.result(TIMEOUT_S)
    while lanes.spare != 1:
        pass
    gates[1].opened.set()


def test_what_waits_counts_even_before_a_lane_wakes_up() -> None:
    lanes = Lanes(2)  # not started
    lanes.post(0, lambda: None)
    assert lanes.spare == 0


def test_a_result_can_be_cancelled_until_it_is_begun(make_lanes: Callable[..., Lanes]) -> None:
    lanes, ran = make_lanes(), list[str]()
    (gate,) = busy(lanes)
    job = submit(lanes, 0, lambda: ran.append("cancelled"))
    assert job.cancel()
    gate.opened.set()
    submit(lanes, 1, int).result(TIMEOUT_S)
    assert ran == []


def test_an_error_is_the_callers(make_lanes: Callable[..., Lanes]) -> None:
    lanes = make_lanes()
    with pytest.raises(ZeroDivisionError):
        submit(lanes, 0, lambda: 1 / 0).result(TIMEOUT_S)
    assert lanes.alive


def test_a_newcomer_can_be_taken_out_of_the_order(make_lanes: Callable[..., Lanes]) -> None:
    lanes, done = make_lanes(), list[str]()
    (gate,) = busy(lanes)
    lanes.post(1, lambda: done.append("left"), ["left"])
    lanes.post(2, lambda: done.append("both"), ["left", "right"])
    lanes.post(3, lambda: done.append("right"), ["right"])
    assert lanes.take_newcomer("middle") is None
    newcomer = lanes.take_newcomer("right")
    assert newcomer is not None
    newcomer()
    assert done == ["both"]
    last = submit(lanes, 4, int)
    gate.opened.set()
    last.result(TIMEOUT_S)
    assert done == ["both", "left", "right"]
    for key in ("left", "right"):
        assert lanes.take_newcomer(key) is None


def test_done_work_is_let_go_of(make_lanes: Callable[..., Lanes]) -> None:
    """While a lane waits it must not hold on to what it did last: that may be a photograph."""
    lanes = make_lanes()
    held, gone = Gate(), threading.Event()
    held.opened.set()
    weakref.finalize(held, gone.set)
    submit(lanes, 0, held).result(TIMEOUT_S)
    del held
    assert gone.wait(TIMEOUT_S)


def test_stall_is_the_time_without_progress(make_lanes: Callable[..., Lanes]) -> None:
    clock = Clock()
    lanes = make_lanes(clock=clock)
    clock.now = 100
    assert lanes.stalled_s() == 0
    (gate,) = busy(lanes)
    clock.now = 130
    assert lanes.stalled_s() == 30
    gate.opened.set()
    submit(lanes, 0, int).result(TIMEOUT_S)
    while lanes.stalled_s():
        pass


def test_closing_finishes_what_was_posted(make_lanes: Callable[..., Lanes]) -> None:
    lanes, done = make_lanes(), list[int]()
    (gate,) = busy(lanes)
    for number in range(3):
        lanes.post(number, lambda number=number: done.append(number))  # type: ignore[misc]
    gate.opened.set()
    lanes.close(TIMEOUT_S)
    assert done == [0, 1, 2]
    assert not lanes.alive


def test_a_lane_that_dies_is_seen(make_lanes: Callable[..., Lanes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    lanes = make_lanes(2)
    assert lanes.alive
    lanes.post(0, lambda: 1 / 0)  # type: ignore[arg-type]
    while lanes.alive:
        pass


def test_lanes_are_reserved_for_who_is_alone(make_lanes: Callable[..., Lanes]) -> None:
    lanes, gate, reserved = make_lanes(3), Gate(), list[bool]()

    def spread() -> None:
        with lanes.reserve(2) as alone:
            reserved.append(alone)
            gate()

    lanes.post(0, spread)
    assert gate.begun.wait(TIMEOUT_S)
    assert lanes.spare == 1
    (third,) = busy(lanes)
    kept = submit(lanes, 1, int)
    assert (lanes.spare, kept.done()) == (0, False)
    gate.opened.set()
    kept.result(TIMEOUT_S)
    assert reserved == [True]
    third.opened.set()


def test_and_not_while_others_work_or_wait(make_lanes: Callable[..., Lanes]) -> None:
    lanes = make_lanes(2)
    (gate,) = busy(lanes)

    def reserve() -> bool:
        with lanes.reserve(2) as alone:
            return alone

    assert submit(lanes, 0, reserve).result(TIMEOUT_S) is False
    gate.opened.set()
    submit(lanes, 0, int).result(TIMEOUT_S)
