"""The budget in bytes: never exceeded, and given back by the last who holds a lease."""

import threading

import pytest

from service.engine.errors import MemoryFullError
from service.engine.memory import MemoryBudget


@pytest.fixture
def budget() -> MemoryBudget:
    return MemoryBudget(100)


def test_leases_share_the_budget_to_the_last_byte(budget: MemoryBudget) -> None:
    with budget.lease() as first, budget.lease() as second:
        first.hold(60)
        second.hold(40)
        assert budget.held == 100
        with pytest.raises(MemoryFullError) as full:
            first.hold(61)
        assert (full.value.wanted, full.value.free) == (1, 0)
        first.hold(10)
        second.hold(90)
        assert budget.held == 100
    assert budget.held == 0


def test_a_refused_lease_holds_what_it_did(budget: MemoryBudget) -> None:
    with budget.lease() as lease:
        lease.hold(30)
        with pytest.raises(MemoryFullError):
            lease.hold(101)
        assert budget.held == 30
        lease.hold(100)
        assert budget.held == 100


def test_the_last_who_leaves_gives_it_back(budget: MemoryBudget) -> None:
    lease = budget.lease()
    with lease:
        with lease:
            lease.hold(70)
        assert budget.held == 70
    assert budget.held == 0
    with lease:  # somebody comes late, who holds it once more
        lease.hold(20)
        assert budget.held == 20
    assert budget.held == 0


def test_an_error_gives_it_back(budget: MemoryBudget) -> None:
    def fail() -> None:
        with budget.lease() as lease:
            lease.hold(50)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    assert budget.held == 0


def test_threads_never_hold_more_than_there_is(budget: MemoryBudget) -> None:
    refused, most, barrier = threading.Semaphore(0), list[int](), threading.Barrier(8)

    def take_and_give() -> None:
        barrier.wait(20)
        for _ in range(500):
            with budget.lease() as lease:
                try:
                    lease.hold(40)
                except MemoryFullError:
                    refused.release()
                most.append(budget.held)

    threads = [threading.Thread(target=take_and_give) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert max(most) <= 80
    assert budget.held == 0
