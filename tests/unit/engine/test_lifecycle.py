import pytest

from service.engine.errors import ClosedError
from service.engine.lifecycle import Lifecycle, Phase


class Batcher:
    """Stands still for as long as the test says."""

    stalled = 0.0

    def stalled_s(self) -> float:
        return self.stalled


class Worker:
    alive = True


class Lanes(Batcher):
    alive = True


@pytest.fixture
def parts() -> tuple[Batcher, Worker, Lanes, Lifecycle]:
    batcher, worker, lanes = Batcher(), Worker(), Lanes()
    lifecycle = Lifecycle(batcher, worker, lanes, stall_s=60)  # type: ignore[arg-type]
    lifecycle.phase = Phase.READY
    return batcher, worker, lanes, lifecycle


def test_ready_and_live(parts: tuple[Batcher, Worker, Lanes, Lifecycle]) -> None:
    *_, lifecycle = parts
    assert lifecycle.why_not_ready() is None
    assert lifecycle.why_not_live() is None
    lifecycle.admit()


@pytest.mark.parametrize(("phase", "admits"), [("starting", False), ("draining", True), ("closed", False)])
def test_other_phases_are_not_ready_but_live(
    parts: tuple[Batcher, Worker, Lanes, Lifecycle], phase: str, admits: bool
) -> None:
    *_, lifecycle = parts
    lifecycle.phase = Phase(phase)
    assert lifecycle.why_not_ready() == f"the service is {phase}"
    assert lifecycle.why_not_live() is None
    if admits:
        lifecycle.admit()
    else:
        with pytest.raises(ClosedError, match=phase):
            lifecycle.admit()


def test_liveness_is_progress(parts: tuple[Batcher, Worker, Lanes, Lifecycle]) -> None:
    batcher, _, lanes, lifecycle = parts
    for part in (batcher, lanes):
        part.stalled = 60
        assert lifecycle.why_not_live() is None
        part.stalled = 61
        assert lifecycle.why_not_live() == "work is pending, but none was finished for 61 s"
        assert lifecycle.why_not_ready() == lifecycle.why_not_live()
        part.stalled = 0


def test_a_dead_thread_is_not_live(parts: tuple[Batcher, Worker, Lanes, Lifecycle]) -> None:
    _, worker, lanes, lifecycle = parts
    lanes.alive = False
    assert lifecycle.why_not_live() == "a worker thread has died"
    worker.alive = False
    assert lifecycle.why_not_live() == "the device worker has died"
