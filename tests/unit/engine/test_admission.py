"""Who delays a newcomer, and by how much."""

from collections.abc import Collection
from contextlib import ExitStack

import pytest

from service.engine.admission import Admission, Place, Stage
from service.engine.costs import BatchCosts
from service.engine.errors import QueueFullError

DECODING, AT_NETWORK, WRITING = Stage
MEGAPIXEL = 10**6


class House:
    """An admission of ten seconds with two lanes, and the photographs under way."""

    def __init__(self, on_lanes: bool = True) -> None:
        costs = BatchCosts({"left": {1: 2.0, 4: 4.0}, "right": {1: 3.0}})
        self.admission = Admission(10, costs, lanes=2, on_lanes=on_lanes)
        self._photographs = ExitStack()

    def put(
        self, stage: Stage, count: int, keys: Collection[str] = ("left",), pixels: int | None = MEGAPIXEL
    ) -> list[Place]:
        places = [self._photographs.enter_context(self.admission.inside(keys)) for _ in range(count)]
        for place in places:
            place.stage, place.pixels = stage, pixels
        return places

    @property
    def wait_s(self) -> float:
        return self.admission.predicted_wait_s()

    def empty(self) -> None:
        self._photographs.close()
        assert self.wait_s == 0


@pytest.fixture
def house() -> House:
    return House()


def test_nobody_waits_where_nobody_is(house: House) -> None:
    for stage in (DECODING, WRITING):
        house.admission.observe(stage, MEGAPIXEL, 1000)
    house.admission.admit()
    assert house.wait_s == 0


def test_network_work_is_counted_in_batches_of_each_backbone_and_shared_by_the_lanes(house: House) -> None:
    house.put(AT_NETWORK, 5, ["left"])
    house.put(AT_NETWORK, 1, ["left", "right"])
    assert house.wait_s == pytest.approx(((4 + 4) + 3) / 2)
    house.empty()


def test_a_device_works_beside_the_lanes() -> None:
    house = House(on_lanes=False)
    house.admission.observe(WRITING, MEGAPIXEL, 4)
    house.put(AT_NETWORK, 1, ["right"])
    assert house.wait_s == pytest.approx(3)
    house.put(WRITING, 2, ["right"])
    assert house.wait_s == pytest.approx(3 * 4 / 2)
    house.empty()


def test_a_photograph_counts_for_all_that_it_has_still_to_go_through(house: House) -> None:
    house.admission.observe(DECODING, MEGAPIXEL, 10)
    house.admission.observe(WRITING, MEGAPIXEL, 100)
    (place,) = house.put(DECODING, 1, ["right"])
    assert house.wait_s == pytest.approx((10 + 3 + 100) / 2)
    place.stage = AT_NETWORK
    assert house.wait_s == pytest.approx((3 + 100) / 2)
    place.stage = WRITING
    assert house.wait_s == pytest.approx(100 / 2)
    house.empty()


def test_a_large_photograph_costs_more_than_a_small_one(house: House) -> None:
    house.admission.observe(DECODING, MEGAPIXEL, 1)
    house.put(DECODING, 1, [], 50 * MEGAPIXEL)
    assert house.wait_s == pytest.approx(50 / 2)
    house.put(DECODING, 1, [], MEGAPIXEL // 5)
    assert house.wait_s == pytest.approx(50.2 / 2)
    house.empty()


def test_one_whose_header_was_not_read_counts_as_the_usual_one(house: House) -> None:
    house.admission.observe(DECODING, 2 * MEGAPIXEL, 2)
    house.put(DECODING, 1, [], None)
    assert house.wait_s == pytest.approx(2 / 2)
    house.empty()


def test_before_anything_was_measured_the_codec_costs_nothing(house: House) -> None:
    house.put(DECODING, 100, [], None)
    assert house.wait_s == 0
    house.empty()


def test_one_does_not_wait_for_itself(house: House) -> None:
    _, second = house.put(AT_NETWORK, 2, ["right"])
    assert house.admission.predicted_wait_s(second) == pytest.approx(3 / 2)
    assert house.wait_s == pytest.approx(6 / 2)
    house.empty()


def test_a_place_is_left_however_it_ends(house: House) -> None:
    def fail() -> None:
        with house.admission.inside(["left"]):
            assert house.wait_s == 1
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    assert house.wait_s == 0


def test_codec_times_are_followed_slowly(house: House) -> None:
    house.admission.observe(DECODING, MEGAPIXEL, 10)
    house.put(DECODING, 2, [])
    assert house.wait_s == pytest.approx(10)
    house.admission.observe(DECODING, MEGAPIXEL, 20)
    assert house.wait_s == pytest.approx(11)
    house.empty()


@pytest.mark.parametrize(("ahead", "retry_after_s"), [(7, 1), (8, 2), (13, 10)])
def test_refusal_says_when_to_come_back(house: House, ahead: int, retry_after_s: int) -> None:
    house.put(AT_NETWORK, 6, ["right"])
    house.admission.admit()  # nine seconds
    house.put(AT_NETWORK, ahead - 6, ["right"])
    with pytest.raises(QueueFullError) as refused:
        house.admission.admit()
    assert refused.value.retry_after_s == house.admission.retry_after_s() == retry_after_s
    assert str(refused.value) == f"the predicted wait is {ahead * 1.5:.1f} s; try again in {retry_after_s} s"
    house.empty()


def test_nobody_is_told_to_come_back_at_once(house: House) -> None:
    assert house.admission.retry_after_s() == 1


def test_the_order_is_when_a_photograph_would_be_done_alone(house: House) -> None:
    """So a small one overtakes a large one that came while the large one could have been worked on."""
    house.admission.observe(DECODING, MEGAPIXEL, 0.1)
    house.admission.observe(WRITING, MEGAPIXEL, 0.2)
    with (
        house.admission.inside(["left"], 10.0) as large,
        house.admission.inside(["left"], 11.0) as small,
        house.admission.inside(["left"], 14.0) as late,
    ):
        assert (large.order, small.order) == (10, 11)
        for place, megapixels in ((large, 12), (small, 1), (late, 1)):
            house.admission.rank(place, megapixels * MEGAPIXEL)
        assert small.order < large.order < late.order
        assert large.order == pytest.approx(10 + 12 * 0.3)
        assert house.admission.oldest_arrival("left") == 10
        large.stage = AT_NETWORK
        assert house.admission.oldest_arrival("left") == 11
    assert house.admission.oldest_arrival("left") is None
