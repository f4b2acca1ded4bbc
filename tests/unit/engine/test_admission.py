import pytest

from service.engine.admission import Admission
from service.engine.errors import QueueFullError


def test_everyone_is_admitted_before_anything_was_measured() -> None:
    Admission(1).admit({"left": 10_000})


def test_wait_is_the_pending_work_of_all_keys() -> None:
    admission = Admission(100)
    admission.observe("left", size=4, seconds=2)
    admission.observe("right", size=1, seconds=3)
    assert admission.predicted_wait_s({"left": 4, "right": 2}) == pytest.approx(4 * 0.5 + 2 * 3)


def test_cost_follows_the_device_slowly() -> None:
    admission = Admission(100)
    admission.observe("left", size=1, seconds=1)
    admission.observe("left", size=1, seconds=2)
    assert admission.predicted_wait_s({"left": 1}) == pytest.approx(1.2)


@pytest.mark.parametrize(("pending", "retry_after_s"), [(11, 1), (25, 15)])
def test_refusal_says_when_to_come_back(pending: int, retry_after_s: int) -> None:
    admission = Admission(10)
    admission.observe("left", size=1, seconds=1)
    admission.admit({"left": 10})
    with pytest.raises(QueueFullError) as refused:
        admission.admit({"left": pending})
    assert refused.value.retry_after_s == retry_after_s
    assert f"try again in {retry_after_s} s" in str(refused.value)
