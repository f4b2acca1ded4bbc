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


@pytest.fixture
def parts() -> tuple[Batcher, Worker, Lifecycle]:
    batcher, worker = Batcher(), Worker()
    lifecycle = Lifecycle(batcher, worker, stall_s=60)  # type: ignore[arg-type]
    lifecycle.phase = Phase.READY
    return batcher, worker, lifecycle


def test_ready_and_live(parts: tuple[Batcher, Worker, Lifecycle]) -> None:
    _, _, lifecycle = parts
    assert lifecycle.why_not_ready() is None
    assert lifecycle.why_not_live() is None
    lifecycle.admit()


@pytest.mark.parametrize(("phase", "admits"), [("starting", False), ("draining", True), ("closed", False)])
def test_other_phases_are_not_ready_but_live(
    parts: tuple[Batcher, Worker, Lifecycle], phase: str, admits: bool
) -> None:
    _, _, lifecycle = parts
    lifecycle.phase = Phase(phase)
    assert lifecycle.why_not_ready() == f"the service is {phase}"
    assert lifecycle.why_not_live() is None
    if admits:
        lifecycle.admit()
    else:
        with pytest.raises(ClosedError, match=phase):
            lifecycle.admit()


def test_liveness_is_progress(parts: tuple[Batcher, Worker, Lifecycle]) -> None:
    batcher, _, lifecycle = parts
    batcher.stalled = 60
    assert lifecycle.why_not_live() is None
    batcher.stalled = 61
    assert lifecycle.why_not_live() == "work is pending, but no batch was finished for 61 s"
    assert lifecycle.why_not_ready() == lifecycle.why_not_live()


def test_a_dead_worker_is_not_live(parts: tuple[Batcher, Worker, Lifecycle]) -> None:
    _, worker, lifecycle = parts
    worker.alive = False
    assert lifecycle.why_not_live() == "the device worker has died"
