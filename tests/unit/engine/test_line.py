"""A request's way: steps on lanes, waits that somebody ends, and an end whoever leaves."""

import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import CancelledError
from typing import Any

import pytest

from service.engine.lanes import Lanes
from service.engine.line import Line, Resume, Wait
from tests.unit.engine.gated_device import TIMEOUT_S
from tests.unit.engine.lane_work import submit

Steps = Generator[Wait, Any, str]


class Desk:
    """Where a line waits, until the test ends the wait."""

    def __init__(self) -> None:
        self.waiting = threading.Event()
        self.called_off = threading.Event()
        self.resume: Resume | None = None

    def __call__(self, resume: Resume) -> Callable[[], bool]:
        self.resume = resume
        self.waiting.set()
        return self.call_off

    def call_off(self) -> bool:
        if self.resume is None:
            return False
        self.resume = None
        self.called_off.set()
        return True

    def end(self, outcome: object) -> None:
        """Ends the wait, unless it was called off."""
        assert self.waiting.wait(TIMEOUT_S)
        resume, self.resume = self.resume, None
        assert resume is not None
        resume(outcome)


@pytest.fixture
def lanes() -> Iterator[Lanes]:
    lanes = Lanes(1)
    lanes.start()
    yield lanes
    assert lanes.alive  # whatever a line did
    lanes.close(TIMEOUT_S)


@pytest.fixture
def desk() -> Desk:
    return Desk()


class Visit:
    """Waits at a desk once, and tells when it is over."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.over = threading.Event()

    def run(self) -> Steps:
        try:
            answer = yield self._desk
            return f"{answer}, and more"
        finally:
            self.over.set()


def start(lanes: Lanes, steps: Steps) -> Line[str]:
    line = Line(lanes, lambda: 0.0, steps)
    line.start()
    return line


def test_a_line_ends_with_what_its_steps_return(lanes: Lanes, desk: Desk) -> None:
    line = start(lanes, Visit(desk).run())
    desk.end("colours")
    assert line.result.result(TIMEOUT_S) == "colours, and more"


def test_a_lane_does_other_work_while_a_line_waits(lanes: Lanes, desk: Desk) -> None:
    line = start(lanes, Visit(desk).run())
    assert desk.waiting.wait(TIMEOUT_S)
    assert submit(lanes, 1, lambda: "done").result(TIMEOUT_S) == "done"
    assert not line.result.done()
    desk.end("late")
    line.result.result(TIMEOUT_S)


def test_an_error_that_ends_a_wait_is_raised_in_the_steps(lanes: Lanes, desk: Desk) -> None:
    line = start(lanes, Visit(desk).run())
    desk.end(ValueError("no colours"))
    with pytest.raises(ValueError, match="no colours"):
        line.result.result(TIMEOUT_S)


def test_so_is_one_that_a_wait_begins_with(lanes: Lanes) -> None:
    def refuse(_: Resume) -> Callable[[], bool]:
        raise ValueError("closed")

    def steps() -> Steps:
        try:
            yield refuse
        except ValueError as error:
            return f"{error}, but well"
        return "never"

    assert start(lanes, steps()).result.result(TIMEOUT_S) == "closed, but well"


def test_a_wait_may_end_before_it_has_begun(lanes: Lanes) -> None:
    def at_once(resume: Resume) -> Callable[[], bool]:
        resume("at once")
        return lambda: False

    def steps() -> Steps:
        return f"{(yield at_once)} and {(yield at_once)}"

    assert start(lanes, steps()).result.result(TIMEOUT_S) == "at once and at once"


def test_who_leaves_a_wait_ends_the_line_there(lanes: Lanes, desk: Desk) -> None:
    steps = Visit(desk)
    line = start(lanes, steps.run())
    assert desk.waiting.wait(TIMEOUT_S)
    submit(lanes, 1, int).result(TIMEOUT_S)  # the lane has left the line
    line.abandon()
    assert steps.over.is_set()
    assert desk.called_off.is_set()
    with pytest.raises(CancelledError):
        line.result.result(TIMEOUT_S)


def test_who_leaves_when_the_answer_is_under_way_ends_it_before_the_next_step(lanes: Lanes, desk: Desk) -> None:
    steps = Visit(desk)
    line = start(lanes, steps.run())
    assert desk.waiting.wait(TIMEOUT_S)
    gate = threading.Event()
    submit(lanes, -1, lambda: gate.wait(TIMEOUT_S))  # so that the answer waits for the lane
    desk.end("colours")
    line.abandon()
    assert steps.over.is_set()
    gate.set()
    with pytest.raises(CancelledError):
        line.result.result(TIMEOUT_S)


def test_a_step_cannot_be_interrupted_but_is_the_last(lanes: Lanes, desk: Desk) -> None:
    working, go_on, over = threading.Event(), threading.Event(), threading.Event()

    def steps() -> Steps:
        try:
            working.set()
            assert go_on.wait(TIMEOUT_S)
            yield desk
            return "never"
        finally:
            over.set()

    line = start(lanes, steps())
    assert working.wait(TIMEOUT_S)
    line.abandon()
    assert not over.is_set()
    go_on.set()
    assert over.wait(TIMEOUT_S)
    assert desk.called_off.is_set()


def test_who_leaves_before_the_first_step_is_not_worked_for(lanes: Lanes) -> None:
    gate, begun = threading.Event(), threading.Event()
    submit(lanes, 0, lambda: gate.wait(TIMEOUT_S))

    def steps() -> Steps:
        begun.set()
        yield from ()
        return "never"

    line = start(lanes, steps())
    line.abandon()
    with pytest.raises(CancelledError):
        line.result.result(TIMEOUT_S)
    gate.set()
    assert not begun.is_set()


def test_leaving_a_line_that_has_ended_changes_nothing(lanes: Lanes, desk: Desk) -> None:
    line = start(lanes, Visit(desk).run())
    desk.end("colours")
    assert line.result.result(TIMEOUT_S) == "colours, and more"
    line.abandon()
    assert line.result.result() == "colours, and more"
