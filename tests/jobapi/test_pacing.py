"""How much of the platform's time pages may take."""

import pytest

from exporter.jobapi.pacing import AT_START, FULL, Pacer


class Time:
    """A clock that only the test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_page_may_be_asked_for_while_there_is_credit() -> None:
    """An expensive page makes the credit negative, and the next page waits until it is 0 again."""
    time = Time()
    pacer = Pacer(0.1, monotonic=time)
    pacer.charge(AT_START - 1)
    assert pacer.wait() == 0.0
    pacer.charge(3.0)
    assert pacer.wait() == pytest.approx(20.0)
    time.now += 19.0
    assert pacer.wait() == pytest.approx(1.0)
    time.now += 2.0
    assert pacer.wait() == 0.0


def test_credit_adds_up_to_a_minute_of_pages() -> None:
    """After a long idle time the credit is still bounded."""
    time = Time()
    pacer = Pacer(0.1, monotonic=time)
    time.now += 1e6
    pacer.charge(FULL + 1)
    assert pacer.wait() == pytest.approx(10.0)


def test_pages_take_the_duty_of_a_long_time() -> None:
    """Over a long time pages take `duty` of the time, apart from saved credit."""
    time, asked = Time(), 0.0
    pacer = Pacer(0.1, monotonic=time)
    while time.now < 100_100:
        time.now += pacer.wait() + 0.5
        pacer.charge(4.0)
        asked += 4.0
    assert asked == pytest.approx(0.1 * 100_000, rel=0.01)
