import pytest

from service.engine.costs import BatchCosts


@pytest.fixture
def costs() -> BatchCosts:
    return BatchCosts({"left": {1: 1.0, 2: 1.5, 4: 2.0}, "right": {1: 10.0}})


@pytest.mark.parametrize(
    ("count", "seconds"),
    [(0, 0), (1, 1), (2, 1.5), (3, 2), (4, 2), (5, 3), (6, 3.5), (8, 4), (41, 21)],
)
def test_work_is_counted_in_batches_as_large_as_can_be(costs: BatchCosts, count: int, seconds: float) -> None:
    assert costs.predict("left", count) == pytest.approx(seconds)


def test_each_backbone_has_its_own_costs(costs: BatchCosts) -> None:
    assert costs.predict("right", 3) == pytest.approx(30)


def test_a_size_follows_its_own_batches_slowly(costs: BatchCosts) -> None:
    costs.observe("left", 2, 2.5)
    assert costs.predict("left", 2) == pytest.approx(1.7)
    assert [costs.predict("left", size) for size in (1, 4)] == [1, 2]
    for _ in range(50):
        costs.observe("left", 2, 2.5)
    assert costs.predict("left", 2) == pytest.approx(2.5, rel=1e-3)


def test_a_size_between_two_counts_as_the_larger(costs: BatchCosts) -> None:
    costs.observe("left", 3, 5)
    assert costs.predict("left", 4) == costs.predict("left", 3) == pytest.approx(2.6)


def test_a_limit_makes_more_batches_of_the_same_work(costs: BatchCosts) -> None:
    costs.limit("left", 2)
    assert costs.predict("left", 4) == pytest.approx(3)
    costs.limit("left", 1)
    assert costs.predict("left", 4) == pytest.approx(4)
    assert costs.predict("right", 1) == 10
    costs.observe("left", 1, 2)
    assert costs.predict("left", 1) == pytest.approx(1.2)


@pytest.mark.parametrize(
    ("seconds", "size"),
    [({1: 1.0, 2: 2.5}, 1), ({1: 1.0, 2: 1.5, 4: 2.0}, 4), ({1: 1.0, 2: 1.5, 4: 4.0}, 2), ({1: 1.0, 2: 2.0}, 1)],
)
def test_the_cheapest_size_takes_the_least_time_a_photograph(seconds: dict[int, float], size: int) -> None:
    assert BatchCosts({"left": seconds}).cheapest("left") == size


def test_the_choice_follows_what_is_measured(costs: BatchCosts) -> None:
    assert costs.cheapest("left") == costs.largest("left") == 4
    for _ in range(20):
        costs.observe("left", 4, 8.0)
    assert costs.cheapest("left") == 2
    costs.limit("left", 1)
    assert costs.cheapest("left") == costs.largest("left") == 1


def test_what_was_measured_can_be_told(costs: BatchCosts) -> None:
    costs.limit("left", 2)
    assert costs.measured("left") == {1: 1.0, 2: 1.5}


def test_a_limit_below_all_sizes_leaves_the_smallest() -> None:
    costs = BatchCosts({"left": {2: 1.0, 4: 2.0}})
    costs.limit("left", 1)
    assert costs.predict("left", 3) == pytest.approx(2)


def test_what_it_was_made_of_stays_as_it_is() -> None:
    measured = {"left": {1: 1.0}}
    BatchCosts(measured).observe("left", 1, 9)
    assert measured == {"left": {1: 1.0}}


def test_a_machine_that_stood_still_for_a_moment_says_little(costs: BatchCosts) -> None:
    costs.observe("left", 1, 1000)
    assert costs.predict("left", 1) < 2
