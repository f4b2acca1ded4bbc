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
    costs.observe("left", 3, 7)
    assert costs.predict("left", 4) == costs.predict("left", 3) == pytest.approx(3)


def test_a_limit_makes_more_batches_of_the_same_work(costs: BatchCosts) -> None:
    costs.limit("left", 2)
    assert costs.predict("left", 4) == pytest.approx(3)
    costs.limit("left", 1)
    assert costs.predict("left", 4) == pytest.approx(4)
    assert costs.predict("right", 1) == 10
    costs.observe("left", 1, 2)
    assert costs.predict("left", 1) == pytest.approx(1.2)


def test_a_limit_below_all_sizes_leaves_the_smallest() -> None:
    costs = BatchCosts({"left": {2: 1.0, 4: 2.0}})
    costs.limit("left", 1)
    assert costs.predict("left", 3) == pytest.approx(2)


def test_what_it_was_made_of_stays_as_it_is() -> None:
    measured = {"left": {1: 1.0}}
    BatchCosts(measured).observe("left", 1, 9)
    assert measured == {"left": {1: 1.0}}
