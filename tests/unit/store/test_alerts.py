"""If these fail, one fault is a hundred alerts, one is lost, or a silence hides too much."""

import itertools

import msgspec
import pytest

from databases import each_kind, each_test, new_database  # noqa: F401 - fixtures
from portcullis.audit.export.source import Position
from portcullis.core.alert import (
    EVIDENCE,
    UNSILENCED,
    Ended,
    Hears,
    Level,
    Raised,
    Silence,
    State,
    Step,
    Verb,
    Wanted,
    Words,
)
from portcullis.core.errors import Problem
from portcullis.core.notice_ports import Filing
from portcullis.oversight.alerts.gathering import CROWD
from portcullis.store import alerts
from portcullis.store.alerts import SqlAlerts
from portcullis.store.notices import SqlNotices

GATHER = 600.0


class World:
    def __init__(self, folder):
        self.time = 1_800_000_000.0
        self.engine = new_database(folder / "portcullis.db")
        numbers = itertools.count(1)
        self.alerts = SqlAlerts(self.engine, self, lambda: f"{next(numbers):032x}", GATHER)

    def now(self):
        return self.time

    def monotonic(self):
        return self.time

    def put(self, *names, **fields):
        """Alerts about these; what is new."""
        return self.alerts.put([self.raised(name, **fields) for name in names], {})

    def raised(self, name="a", **fields):
        made = {
            "rule": "odd",
            "level": Level.HIGH,
            "words": Words(title="Odd"),
            "group": {"principal": name},
            "at": self.time,
            "events": (f"e{self.time:.0f}{name}",),
        }
        return Raised(**made | fields)

    def all(self, **wanted):
        return self.alerts.page(Wanted(**wanted), "", 500)

    def silenced(self, rule, seconds=60.0, **matching):
        one = Silence(
            id=f"s{rule}{len(matching)}",
            rule=rule,
            matching=matching,
            made_at=self.time,
            until=self.time + seconds,
            by="ada",
            reason="r",
        )
        self.alerts.silence(one)
        return one


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    made.engine.dispose()


def test_what_is_raised_again_within_the_time_is_the_same_alert_with_a_count(world):
    (one,) = world.put("a")
    world.time += GATHER - 1
    assert world.put("a", count=20) == ()
    assert len(world.put("b")) == 1
    assert len(world.put("a", rule="other")) == 1
    found = world.alerts.get(one.id)
    assert (found.count, found.turn, found.last_at) == (21, 2, world.time)
    world.time += GATHER + 1
    (again,) = world.put("a")
    assert again.id != one.id
    for _ in range(2 * EVIDENCE):
        world.time += 1
        world.put("a")
    assert len(world.alerts.get(again.id).events) == EVIDENCE


def test_what_is_raised_twice_in_one_breath_is_new_once_and_what_is_resolved_is_over(world):
    (one,) = world.put("a", "a")
    assert world.alerts.get(one.id).count == 2
    world.alerts.move(one.id, Verb.ACKNOWLEDGE, by="rea", reason="I look")
    assert world.put("a") == ()
    done = world.alerts.move(one.id, Verb.RESOLVE, by="rea", reason="over")
    assert (done.state, done.count, done.by) == (State.RESOLVED, 3, "rea")
    assert len(world.put("a")) == 1
    with pytest.raises(Problem, match="PC8021"):
        world.alerts.move(one.id, Verb.ACKNOWLEDGE, by="rea", reason="again")
    with pytest.raises(Problem, match="PC8020"):
        world.alerts.move("none", Verb.RESOLVE, by="rea", reason="again")


def test_who_chooses_names_cannot_make_alerts_without_end(world):
    for start in range(0, 3 * CROWD, 50):
        world.put(*(f"n{number}" for number in range(start, start + 50)))
    found = world.all()
    assert len(found) == CROWD + 1
    assert found[0].group == {}
    assert found[0].count == 2 * CROWD
    assert len(world.put("z", rule="other")) == 1
    world.time += GATHER + 1
    assert world.put("later")[0].group == {"principal": "later"}


def test_nobody_crowds_out_somebody_else(world):
    def of(name, session):
        return world.raised(group={"principal": name, "session": f"s{session}"})

    for start in range(0, 3 * CROWD, 50):
        world.alerts.put([of("eve", number) for number in range(start, start + 50)], {})
    found = world.all()
    assert len(found) == CROWD + 1
    assert (found[0].group, found[0].count) == ({"principal": "eve"}, 2 * CROWD)
    (other,) = world.alerts.put([of("bob", 1)], {})
    assert other.group == {"principal": "bob"}
    kept = Words(title="Cut", kept=True)
    some = [world.raised(f"k{number}", rule="cut-off", words=kept) for number in range(3 * CROWD)]
    assert len(world.alerts.put(some, {})) == 3 * CROWD


def test_a_silence_is_about_what_it_names_until_its_time_and_no_glob_is_about_what_is_kept(world):
    kept = Words(title="Cut", kept=True)
    world.silenced("od*", principal="a")
    world.silenced("*", session="s")
    first, second = world.put("a", "b")
    assert (bool(first.silence), bool(second.silence)) == (True, False)
    (cut,) = world.put("a", words=kept, group={"principal": "a", "session": "s"})
    assert not cut.silence
    world.silenced("odd", principal="c")
    (named,) = world.put("c", words=kept)
    assert named.silence
    assert len(world.alerts.silences()) == 3
    world.time += 61
    assert world.alerts.silences() == ()
    world.put("a")
    assert not world.alerts.get(first.id).silence
    one = world.silenced("late")
    assert world.alerts.unsilence(one.id)
    assert not world.alerts.unsilence(one.id)


def test_no_loud_alert_comes_under_a_quiet_one_nor_for_ever_under_one_that_was_taken_on(world):
    (low,) = world.put("a", level=Level.LOW)
    (high,) = world.put("a", level=Level.HIGH)
    assert world.put("a", level=Level.MEDIUM) == ()
    assert (world.alerts.get(low.id).count, world.alerts.get(high.id).count) == (1, 2)
    world.alerts.move(high.id, Verb.ACKNOWLEDGE, by="rea", reason="I look")
    began, fresh = world.time, ()
    while not fresh:  # somebody sees to it that it goes on
        world.time += GATHER / 3
        fresh = world.put("a")
    assert world.time == began + GATHER
    assert fresh[0].state is State.OPEN


def test_what_an_event_says_is_over_is_over_and_what_came_after_it_is_not(world):
    def over(name, at):
        return Ended(rule="odd", group={"principal": name}, at=at, event="e9")

    (one,) = world.put("a")
    world.alerts.move(one.id, Verb.ACKNOWLEDGE, by="rea", reason="I look")
    assert world.alerts.put([over("b", world.time), over("a", world.time - 1)], {}) == ()
    (done,) = world.alerts.put([over("a", world.time)], {})
    assert (done.id, done.state, done.by) == (one.id, State.RESOLVED, "")
    assert "e9" in done.reason
    world.time += 1
    breath = [world.raised(), over("a", world.time), world.raised(at=world.time + 1)]
    found = world.alerts.put(breath, {})
    assert [(each.state.value, each.reason) for each in found] == [
        ("open", ""),
        ("open", ""),
        ("resolved", "event e9 says so"),
    ]
    assert [each.state.value for each in world.all()] == ["open", "resolved", "resolved"]


def test_what_nobody_took_on_is_escalated_once_for_each_step_and_a_start_changes_nothing(world):
    steps = [Step(after=60, tell={"x": Level.HIGH}), Step(after=300, tell={"y": Level.LOW})]
    (one,) = world.put("a")
    (taken,) = world.put("b")
    world.silenced("odd", principal="c")
    (quiet,) = world.put("c")

    def step():
        """What is due, and is then noted."""
        found = world.alerts.unheeded(steps)
        for each in found:
            number = each.escalated + 1
            assert world.alerts.escalate(each.id, number, told=True).escalated == number
            assert world.alerts.escalate(each.id, number, told=True) is None
        return [each.id for each in found]

    world.time += 59
    assert step() == []
    world.alerts.move(taken.id, Verb.ACKNOWLEDGE, by="rea", reason="I look")
    world.time += 1
    assert step() == [one.id]
    assert step() == []
    assert world.alerts.get(one.id).turn == 2
    heard = [Hears(1, 3)]
    assert [each.id for each in world.alerts.changes("x", heard, 9)] == [one.id]
    assert world.alerts.changes("y", [Hears(2, 0)], 9) == ()
    world.put("c")  # its silence is over, people hear of it now
    assert step() == []
    world.time += 60
    assert step() == [quiet.id]
    world.silenced("od*", 300.0, principal="a")  # too late for what was told, not for the next
    world.time += 200
    assert one.id not in step()
    world.time += 120
    assert one.id in step()
    world.alerts.move(one.id, Verb.RESOLVE, by="rea", reason="over")
    assert world.alerts.changes("y", [Hears(2, 0)], 9) != ()
    assert one.id not in {each.id for each in world.alerts.changes("z", [Hears(1, 0)], 9)}
    assert world.alerts.unheeded([]) == ()


def test_what_waits_for_a_later_step_keeps_nobody_from_the_first(world, monkeypatch):
    monkeypatch.setattr(alerts, "_LOOKED_AT", 2)
    steps = [Step(after=60, tell={"x": Level.LOW}), Step(after=9000, tell={"y": Level.LOW})]
    old = world.put("a", "b", "c")
    world.silenced("odd", 9000.0, principal="c")
    world.time += 60
    for one in world.alerts.unheeded(steps):
        world.alerts.escalate(one.id, 1, told=True)
    assert [world.alerts.get(one.id).escalated for one in old] == [1, 1, 0]
    (new,) = world.put("d", level=Level.LOW)
    world.time += 60
    assert [one.id for one in world.alerts.unheeded(steps)] == [new.id]


def test_what_came_and_went_before_anybody_looked_is_told_all_the_same(world):
    def over(name):
        return Ended(rule="odd", group={"principal": name}, at=world.time, event="e9")

    def told(step=0):
        found = world.alerts.changes("ops", [Hears(step, 3)], 9)
        return [(one.subject, one.state.value) for one in found]

    world.alerts.put([world.raised(), over("a")], {})
    (by_hand,) = world.put("b")
    world.alerts.move(by_hand.id, Verb.RESOLVE, by="rea", reason="over")
    world.silenced("odd", principal="c")
    world.alerts.put([world.raised("c"), over("c")], {})
    assert told() == [("principal=a", "resolved")]
    assert told(1) == []
    world.time += 3601
    assert told() == []


def test_what_is_quiet_for_long_enough_is_over_by_itself_and_not_before(world):
    (one,) = world.put("a", quiet=100.0)
    (other,) = world.put("b")
    world.time += 99
    assert world.alerts.quiet() == ()
    world.put("a", quiet=100.0)
    world.time += 99
    assert world.alerts.quiet() == ()
    (late,) = world.put("late", quiet=100.0, at=world.time - 5000)
    world.time += 1
    assert [each.id for each in world.alerts.quiet()] == [one.id]
    assert world.alerts.end(one.id, "quiet").state is State.RESOLVED
    assert world.alerts.end(one.id, "quiet") is None
    assert world.alerts.quiet() == ()
    world.time += 100
    assert [each.id for each in world.alerts.quiet()] == [late.id]
    assert world.alerts.get(other.id).state is State.OPEN


def test_nothing_silences_the_alert_about_silences(world):
    kept = Words(title="Silenced", kept=True)
    world.silenced(UNSILENCED)
    world.silenced("*")
    (one,) = world.put("eve", rule=UNSILENCED, words=kept)
    assert not one.silence


def test_a_channel_is_told_of_what_is_loud_enough_and_of_what_becomes_of_that(world):
    notices = SqlNotices(world.engine)

    def follow(alert):
        one = f"alert:{alert.id}"
        over = alert.state is State.RESOLVED
        made = Filing(one, str(alert.turn), over, one, 0.0, lambda _: None)
        notices.file("ops", [made])

    def told(least=3):
        return [
            (one.subject, one.count) for one in world.alerts.changes("ops", [Hears(0, least)], 10)
        ]

    high, low = world.put("a")[0], world.put("b", level=Level.LOW)[0]
    critical = world.put("c", level=Level.CRITICAL)[0]
    world.silenced("odd", principal="d")
    world.put("d")
    assert told() == [("principal=c", 1), ("principal=a", 1)]
    for one in (high, critical):
        follow(one)
    assert told() == []
    assert told(least=1) == [("principal=b", 1)]
    world.put("a")
    assert told() == [("principal=a", 2)]
    follow(world.alerts.get(high.id))
    follow(world.alerts.move(critical.id, Verb.RESOLVE, by="x", reason="y"))
    world.alerts.move(low.id, Verb.RESOLVE, by="x", reason="y")
    assert told(least=0) == []
    world.time += 61
    world.put("d")
    assert told() == [("principal=d", 2)]


def test_pages_go_on_where_the_last_one_ended(world):
    for number in range(7):
        world.put(f"n{number}", level=Level.LOW if number % 2 else Level.HIGH)
    whole = [one.id for one in world.all()]
    first = world.alerts.page(Wanted(), "", 3)
    second = world.alerts.page(Wanted(), first[-1].id, 100)
    assert [one.id for one in (*first, *second)] == whole == sorted(whole, reverse=True)
    assert len(world.all(level=Level.MEDIUM)) == 4
    assert world.all(rule="none") == ()
    world.alerts.move(whole[0], Verb.RESOLVE, by="x", reason="y")
    assert [one.id for one in world.all(states=(State.RESOLVED,))] == whole[:1]


def test_what_was_remembered_and_taken_is_there_after_a_start(world):
    assert world.alerts.memory() is None
    world.alerts.put([world.raised()], {"gate": 7})
    assert world.alerts.taken() == {"gate": 7}
    assert world.alerts.memory() is None
    place = Position(5, "ab" * 32)
    world.alerts.remember(b"kept", {"gate": (place, 7)})
    world.alerts.put([world.raised()], {"gate": 9, "edge": 2})
    assert world.alerts.memory() == (b"kept", {"gate": place, "edge": Position()})
    assert world.alerts.taken() == {"gate": 9, "edge": 2}


def test_what_is_long_over_is_forgotten_with_what_channels_knew_of_it(world):
    (old,) = world.put("a")
    world.silenced("odd", principal="z")
    world.time += 1000
    (new,) = world.put("b")
    world.alerts.forget(world.time - 500)
    assert [one.id for one in world.all()] == [new.id]
    assert world.alerts.get(old.id) is None
    assert msgspec.to_builtins(world.alerts.open()) == 1
