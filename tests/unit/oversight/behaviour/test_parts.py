"""If these fail, new things are expected where none are, or many are counted as few."""

from datetime import UTC, datetime

import pytest

from portcullis.core.event import Event, EventType
from portcullis.oversight.behaviour.amounts import Count, Size, Teach, limit
from portcullis.oversight.behaviour.distinct import Distinct
from portcullis.oversight.behaviour.profile import Profile
from portcullis.oversight.behaviour.roles import role_of
from portcullis.oversight.behaviour.seen import host_of, tool_of
from portcullis.oversight.behaviour.values import MOST, Novelty, Values, unlikely

LONG = {
    "v": 1,
    "id": "1",
    "time": datetime(2026, 3, 2, tzinfo=UTC),
    "type": EventType.TOOL_CALL,
    "gateway": "g",
    "server": "s",
}


def seen(values, value, hours):
    for hour in hours:
        if value not in values.seen:
            values.arrive(value, hour // 24)
            values.learn(value, hour)
        else:
            values.seen[value][0] += 1


def test_a_new_value_surprises_where_each_came_often_and_not_where_each_came_once():
    often, once = Values(0), Values(0)
    for value in "abcd":
        seen(often, value, range(0, 24 * 14, 12))
    for index in range(60):
        seen(once, str(index), [index * 5])
    for values in (often, once):
        values.arrive("new", 14)
    assert often.surprise(14) > 2.5
    assert once.surprise(14) < 0.3


def test_more_new_values_on_one_day_than_on_any_before_surprise():
    values = Values(0)
    for value in "abcd":
        seen(values, value, range(0, 24 * 14, 12))
    seen(values, "e", [24 * 5])
    few = [values.arrive("f", 14), values.surprise(14)][1]
    for value in "ghi":
        values.arrive(value, 14)
    assert values.surprise(14) > few + 1


def test_what_has_too_many_values_has_no_new_ones():
    values = Values(0)
    for index in range(MOST + 1):
        values.learn(str(index), 1)
    assert not values.closed
    assert values.seen == {}
    assert values.surprise(20) == pytest.approx(0.0, abs=3.1)


def test_a_locked_baseline_takes_a_value_over_on_its_third_day_and_one_a_day():
    values = Values(0)
    for day in (20, 20, 21, 22):
        values.wait("x", day * 24)
        values.wait("y", day * 24 + 1)
    assert set(values.seen) == {"x"}
    values.wait("y", 23 * 24)
    assert set(values.seen) == {"x", "y"}


def test_what_a_human_accepts_is_taken_over_however_much_it_was_on_one_day():
    values = Values(0)
    values.learn("a", 0)
    for index in range(40):
        values.arrive(str(index), 20)
    values.wait("0", 20 * 24)
    values.accept(20 * 24 + 1)
    assert set(values.seen) == {"a", "0"}


def test_many_at_once_are_less_likely_than_one():
    assert unlikely(1, 0.01) == pytest.approx(2.0, abs=0.01)
    assert unlikely(1, 3.0) < 0.1
    assert unlikely(4, 0.5) > unlikely(2, 0.5) > unlikely(1, 0.5)
    assert unlikely(500, 0.001) == 5.0


def test_a_size_far_beyond_all_before_is_unusual_and_one_within_is_not():
    size = Size()
    for index in range(300):
        assert size.see(1000 + index % 200, Teach.ALL) == 0.0
    assert size.see(1250, Teach.NOTHING) == 0.0
    assert size.see(100_000, Teach.NOTHING) > 5
    few = Size()
    for _ in range(10):
        few.see(10, Teach.ALL)
    assert few.see(1e9, Teach.ALL) == 0.0, "nobody knows yet"


def test_a_locked_size_moves_by_half_at_most():
    size = Size()
    for _ in range(300):
        size.see(1000, Teach.ALL)
    size.hold()
    for _ in range(20_000):
        size.see(100_000, Teach.SLOWLY)
    assert size.mean <= size.anchor + 0.4


def test_a_locked_peak_follows_slowly_and_not_far():
    count = Count(5, 0)
    count.hour = count.day = 100.0
    count.hour_over(Teach.ALL)
    count.day_over(Teach.ALL)
    count.hold()
    for _ in range(100):
        count.hour = count.day = 10_000.0
        count.hour_over(Teach.SLOWLY)
        count.day_over(Teach.SLOWLY)
    assert 100 < count.day_peak <= 150
    count.day = 10_000.0
    count.day_over(Teach.NOTHING)
    assert count.day_peak <= 150
    assert limit(100, 5) < 200


def test_different_things_are_counted_to_within_a_fifth_in_bounded_memory():
    some = Distinct()
    for index in range(6000):
        for _ in range(2):
            some.add(f"value {index % 3000}")
    assert 2400 < some.count() < 3600
    assert len(some.hashes) <= 256


def test_where_new_values_come_to_the_others_of_a_role_one_more_is_less_of_a_surprise():
    values = Values(0)
    for value in "abcd":
        seen(values, value, range(0, 24 * 14, 12))
    values.arrive("new", 14)
    alone = values.surprise(14)
    assert values.surprise(14, Novelty(0.2, 1)) < alone - 0.5
    assert values.surprise(14, Novelty(0.0, 1)) == alone, "nobody makes others look closer"
    for value in "xyz":
        values.arrive(value, 14)
    assert values.surprise(14, Novelty(0.2, 4)) < values.surprise(14, Novelty(0.2, 1)) - 1


def test_where_new_values_come_every_day_a_busy_day_does_not_surprise_and_a_flood_does():
    values = Values(10)
    for index in range(15):
        seen(values, str(index), [24 * (10 + index % 3)])
    values.today, values.fresh = (-1, 0), []
    for index in range(12):
        values.arrive(f"n{index}", 13)
    assert values.surprise(13) == 0.0
    for index in range(100):
        values.arrive(f"n{index}", 14)
    assert values.surprise(14) > 1


def test_one_member_does_not_say_how_much_is_new_in_a_role():
    def member(name, new):
        values = Values(0)
        for value in range(3 + new):
            seen(values, str(value), range(0, 24 * 10, 8) if value < 3 else [24 * 7])
        return Profile(name, role="r", days=10, day=10, facets={"tool": values})

    role = role_of([member("a", 0), member("b", 0), member("c", 40)])
    assert role.new("tool").rate < 0.05
    assert role.new("tool").busiest <= 1
    assert role.new("nothing") == Novelty()
    role = role_of([member("a", 0), member("b", 40), member("c", 40)])
    assert role.new("tool").rate > 1


def test_a_thing_is_not_opened_on_one_day():
    values = Values(0)
    for index in range(MOST + 10):
        values.arrive(str(index), 3)
        values.learn(str(index), 3 * 24 + 1)
    assert values.closed
    assert len(values.seen) <= MOST // 2 + 1
    for day in (4, 5):
        for index in range(MOST):
            values.arrive(f"{day} {index}", day)
            values.learn(f"{day} {index}", day * 24)
    assert (values.closed, values.opened) == (False, 5)


def test_tools_of_long_names_are_told_apart():
    names = {tool_of(Event(**LONG, name="x" * 80 + end)) for end in "ab"}
    assert len(names) == 2
    assert all(len(name) <= 64 for name in names)


@pytest.mark.parametrize(
    ("source", "host"),
    [("10.0.0.1:5123", "10.0.0.1"), ("[::1]:80", "[::1]"), ("unix", "unix"), ("stdio", "stdio")],
)
def test_a_host_is_its_address_without_the_port(source, host):
    assert host_of(source) == host
