"""Who delays a newcomer, and where."""

from collections.abc import Collection, Iterator
from contextlib import ExitStack

import pytest

from service.engine.admission import Admission, Stage
from service.engine.costs import BatchCosts
from service.engine.errors import QueueFullError

DECODING, AT_DEVICE, ENCODING = Stage


class House:
    """An admission of ten seconds with two threads for each codec stage, and the photographs in its stages."""

    def __init__(self) -> None:
        costs = BatchCosts({"left": {1: 2.0, 4: 4.0}, "right": {1: 3.0}})
        self.admission = Admission(10, costs, codec_threads=2)
        self._photographs = ExitStack()

    def put(self, stage: Stage, count: int, keys: Collection[str] = ("left",)) -> None:
        for _ in range(count):
            self._photographs.enter_context(self.admission.inside(stage, keys))

    def empty(self) -> None:
        self._photographs.close()


@pytest.fixture
def house() -> Iterator[House]:
    house = House()
    yield house
    house.empty()
    assert house.admission.predicted_wait_s() == 0


def test_nobody_waits_where_nobody_is(house: House) -> None:
    for stage in (DECODING, ENCODING):
        house.admission.observe(stage, 1000)
    house.admission.admit()
    assert house.admission.predicted_wait_s() == 0


def test_at_the_device_work_is_counted_in_batches_of_each_backbone(house: House) -> None:
    house.put(AT_DEVICE, 5, ["left"])
    house.put(AT_DEVICE, 1, ["left", "right"])
    assert house.admission.predicted_wait_s() == pytest.approx((4 + 4) + 3)


def test_who_is_decoded_delays_at_the_device_as_well(house: House) -> None:
    house.put(DECODING, 3, ["right"])
    house.put(AT_DEVICE, 1, ["right"])
    assert house.admission.predicted_wait_s() == pytest.approx(4 * 3)


def test_who_is_past_the_device_does_not_delay_there(house: House) -> None:
    house.put(ENCODING, 100, ["right"])
    assert house.admission.predicted_wait_s() == 0


def test_only_who_is_decoded_delays_decoding(house: House) -> None:
    house.admission.observe(DECODING, 60)
    house.put(AT_DEVICE, 1)
    house.put(ENCODING, 100)
    assert house.admission.predicted_wait_s() == pytest.approx(2)
    house.put(DECODING, 3)
    assert house.admission.predicted_wait_s() == pytest.approx(3 * 60 / 2)


def test_all_who_are_ahead_delay_encoding(house: House) -> None:
    house.admission.observe(ENCODING, 60)
    for stage, count in ((DECODING, 1), (AT_DEVICE, 2), (ENCODING, 4)):
        house.put(stage, count)
    assert house.admission.predicted_wait_s() == pytest.approx(7 * 60 / 2)


def test_the_wait_is_that_for_the_slowest_stage(house: House) -> None:
    """They work at the same time."""
    house.admission.observe(DECODING, 1)
    house.admission.observe(ENCODING, 8)
    house.put(DECODING, 2, ["right"])
    assert house.admission.predicted_wait_s() == pytest.approx(max(2 * 1 / 2, 2 * 3, 2 * 8 / 2))


def test_a_stage_is_left_however_it_ends(house: House) -> None:
    def fail() -> None:
        with house.admission.inside(AT_DEVICE, ["left"]):
            assert house.admission.predicted_wait_s() == 2
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    assert house.admission.predicted_wait_s() == 0


def test_codec_times_are_followed_slowly(house: House) -> None:
    house.admission.observe(DECODING, 10)
    house.put(DECODING, 2, [])
    assert house.admission.predicted_wait_s() == pytest.approx(10)
    house.admission.observe(DECODING, 20)
    assert house.admission.predicted_wait_s() == pytest.approx(11)


@pytest.mark.parametrize(("ahead", "retry_after_s"), [(4, 2), (9, 17)])
def test_refusal_says_when_to_come_back(house: House, ahead: int, retry_after_s: int) -> None:
    house.put(AT_DEVICE, 3, ["right"])
    house.admission.admit()  # nine seconds
    house.put(AT_DEVICE, ahead - 3, ["right"])
    with pytest.raises(QueueFullError) as refused:
        house.admission.admit()
    assert refused.value.retry_after_s == house.admission.retry_after_s() == retry_after_s
    assert str(refused.value) == f"the predicted wait is {ahead * 3:.1f} s; try again in {retry_after_s} s"


def test_nobody_is_told_to_come_back_at_once(house: House) -> None:
    assert house.admission.retry_after_s() == 1
