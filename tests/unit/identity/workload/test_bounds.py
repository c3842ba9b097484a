from portcullis.identity.workload.bounds import Bounds, Rates


class Clock:
    time = 1000.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


def test_a_user_has_a_burst_and_then_a_rate_and_no_share_in_anothers():
    clock = Clock()
    rates = Rates(Bounds(burst=3, calls_per_second=2), clock)
    assert [rates.take(1) for _ in range(4)] == [True, True, True, False]
    assert rates.take(2)
    clock.time += 1
    assert [rates.take(1) for _ in range(3)] == [True, True, False]
    clock.time += 3600
    assert [rates.take(1) for _ in range(4)] == [True, True, True, False]


def test_an_excess_is_told_once_a_minute():
    clock = Clock()
    rates = Rates(Bounds(), clock)
    assert [rates.tell(1), rates.tell(1), rates.tell(2)] == [True, False, True]
    clock.time += 60
    assert rates.tell(1)


def test_many_users_do_not_fill_the_memory():
    rates = Rates(Bounds(), Clock())
    for uid in range(5000):
        rates.take(uid)
        rates.tell(uid)
    assert len(rates._left) == len(rates._told) == 4096
