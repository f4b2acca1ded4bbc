import threading

import pytest

from service.engine.errors import BusyError, PixelsFullError
from service.engine.pixels import PixelBudget


def test_what_is_taken_is_held_until_it_is_given_back() -> None:
    pixels = PixelBudget(100)
    pixels.take(60)
    pixels.take(40)
    assert pixels.held == 100
    pixels.give_back(60)
    assert pixels.held == 40


def test_a_photograph_without_room_takes_nothing_and_is_told_the_room_there_is() -> None:
    pixels = PixelBudget(100)
    pixels.take(60)
    with pytest.raises(PixelsFullError, match="has 41 pixels, and there is room for 40") as refused:
        pixels.take(41)
    assert isinstance(refused.value, BusyError)
    assert refused.value.retry_after_s >= 1
    assert pixels.held == 60
    pixels.take(40)


def test_threads_together_never_hold_more_than_there_is() -> None:
    pixels = PixelBudget(5)
    start = threading.Barrier(8)
    taken = []

    def take_some() -> None:
        start.wait()
        for _ in range(200):
            try:
                pixels.take(1)
            except PixelsFullError:
                continue
            taken.append(pixels.held)
            pixels.give_back(1)

    threads = [threading.Thread(target=take_some) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(taken) <= 5
    assert pixels.held == 0
