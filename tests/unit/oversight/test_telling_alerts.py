"""If these fail, an alert is told late, twice, to the wrong channel, or with too much in it."""

import itertools

import pytest

from channels import worlds
from portcullis.core.alert import Ended, Hears, Level, Raised, Silence, Verb, Words
from portcullis.core.notice_ports import Later
from portcullis.oversight.notice_text import headline, rows
from portcullis.oversight.notices_alerts import COUNT_SECONDS
from portcullis.oversight.telling import Channel
from portcullis.store.alerts import SqlAlerts

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def make(tmp_path):
    with worlds(tmp_path) as made:
        yield lambda **settings: House(made(**settings))


class House:
    """A channel that is told of alerts from high on."""

    def __init__(self, world, least=3, more=()):
        self.world = world
        numbers = itertools.count(1)
        self.store = SqlAlerts(world.engine, world, lambda: f"{next(numbers):032x}", 3600.0)
        self.least, self.more = least, more
        self.again()

    def again(self, **settings):
        """The gate is started anew."""
        world = self.world
        world.again(**(world.settings | settings))
        hears = None if self.least is None else (self.store, (Hears(0, self.least), *self.more))
        world.channel = Channel(
            "ops",
            world.channel._settings,
            world,
            store=world.notices,
            approvals=world.approvals,
            clock=world,
            noticed=world.noticed,
            origin=lambda: "https://console.example",
            alerts=hears,
        )

    def raises(self, name="a", level=Level.HIGH, **fields):
        made = {
            "rule": "odd",
            "level": level,
            "words": Words(title="Something @channel odd", advice="Look"),
            "group": {"principal": name, "name": "rm -rf"},
            "hidden": ("name",),
            "at": self.world.time,
            "events": (f"e{self.world.time}{name}",),
        }
        found = self.store.put([Raised(**made | fields)], {})
        return found[0] if found else None

    def moves(self, alert, verb, **said):
        self.store.move(alert.id, verb, **({"by": "rea", "reason": "because"} | said))

    @property
    def told(self):
        """What arrived: the stage and the count of each message."""
        return [(m.subjects[0].stage, m.subjects[0].count) for m, _ in self.world.sent]


async def test_where_each_telling_is_a_message_the_count_alone_is_none(make):
    house = make()
    one = house.raises()
    await house.world.runs()
    for _ in range(5):
        house.raises()
        await house.world.runs(100)
    assert house.told == [("open", 1)]
    house.moves(one, Verb.ACKNOWLEDGE)
    await house.world.runs()
    house.raises()
    house.moves(one, Verb.RESOLVE)
    await house.world.runs()
    assert house.told == [("open", 1), ("acknowledged", 6), ("resolved", 7)]
    await house.world.runs(1000)
    assert len(house.told) == 3
    assert len({message.thread for message, _ in house.world.sent}) == 1


async def test_where_the_message_is_amended_it_follows_the_count_and_not_too_often(make):
    house = make(amends=True)
    house.raises()
    await house.world.runs()
    for _ in range(30):
        house.raises()
        await house.world.runs(1)
    assert 1 < len(house.told) <= 2 + 30 / COUNT_SECONDS
    await house.world.runs(COUNT_SECONDS)
    assert house.told[-1] == ("open", 31)
    assert {reference for _, reference in house.world.sent[1:]} == {"ref-1"}


async def test_what_becomes_of_it_does_not_wait_for_the_count(make):
    house = make(amends=True)
    one = house.raises()
    await house.world.runs()
    house.raises()
    await house.world.runs(1)
    house.moves(one, Verb.ACKNOWLEDGE)
    await house.world.runs(1)
    assert house.told == [("open", 1), ("acknowledged", 2)]


async def test_the_loudest_comes_first_and_before_all_that_waits(make):
    house = make(per_minute=1)
    house.world.asks("waits")
    house.raises("a")
    house.raises("b", level=Level.CRITICAL)
    house.raises("c", level=Level.LOW)
    for _ in range(5):
        await house.world.runs(61)
    shown = [message.alert.level if message.alert else "call" for message, _ in house.world.sent]
    assert shown == ["critical", "high", "call"]


async def test_a_message_holds_the_words_of_the_rule_and_nothing_that_a_caller_chose(make):
    house = make(details=["operator"])
    one = house.raises("shop-1")
    house.moves(one, Verb.ACKNOWLEDGE, reason="not for the channel")
    await house.world.runs()
    ((message, _),) = house.world.sent
    said = headline(message)
    assert said == "Acknowledged: High: Something (at)channel odd (principal shop-1, name ?)"
    shown = dict(rows(message))
    assert (shown["By"], shown["What to do"], shown["About"]) == (
        "rea",
        "Look",
        "principal shop-1, name ?",
    )
    assert "rm -rf" not in repr(message)
    assert "not for the channel" not in repr(message)


async def test_what_may_have_arrived_is_sent_again_as_it_was_and_what_did_not_anew(make):
    house = make()
    one = house.raises()
    house.world.fails = [Later("gone", arrived=True)]
    await house.world.runs()
    house.moves(one, Verb.RESOLVE)
    house.again()
    await house.world.runs(100)
    await house.world.runs(100)
    assert house.told == [("open", 1), ("open", 1), ("resolved", 1)]
    assert house.world.ids[0] == house.world.ids[1] != house.world.ids[2]


async def test_a_channel_that_is_told_no_more_gets_nothing_that_it_does_not_know(make):
    house = make()
    known = house.raises("a")
    await house.world.runs()
    house.world.fails = [Later("down")]
    house.raises("b")
    await house.world.runs()
    house.least = None
    house.again()
    house.moves(known, Verb.RESOLVE)
    await house.world.runs(1000)
    assert house.told == [("open", 1)]
    assert [one.state for one in house.world.notices.list(9)] == ["told", "told"]


async def test_what_is_silenced_is_told_when_it_comes_again_afterwards(make):
    house = make()
    now = house.world.time
    house.store.silence(
        Silence(
            id="s",
            rule="*",
            matching={"principal": "a"},
            made_at=now,
            until=now + 60,
            by="ada",
            reason="r",
        )
    )
    house.raises()
    await house.world.runs()
    assert house.told == []
    house.world.time += 61
    house.raises()
    await house.world.runs()
    assert house.told == [("open", 2)]


async def test_others_are_told_of_what_nobody_took_on_as_far_as_it_has_come(make):
    house = make()
    house.least, house.more = 9, (Hears(1, 3), Hears(2, 1))
    house.again()
    loud, quiet, taken = (
        house.raises("a"),
        house.raises("b", level=Level.LOW),
        house.raises("c"),
    )
    house.moves(taken, Verb.ACKNOWLEDGE)
    await house.world.runs()
    assert house.told == []
    for step, stages in ((1, ["escalated"]), (2, ["escalated"] * 2)):
        for one in (loud, quiet, taken):
            house.store.escalate(one.id, step, told=True)
        await house.world.runs(200)
        assert [stage for stage, _ in house.told] == stages
    assert [message.alert.level for message, _ in house.world.sent] == ["high", "low"]
    assert headline(house.world.sent[0][0]).startswith("Nobody took it on: High: ")
    house.moves(loud, Verb.RESOLVE)
    await house.world.runs(200)
    assert house.told[-1] == ("resolved", 1)


async def test_who_was_told_first_hears_that_others_are(make):
    house = make()
    one = house.raises()
    await house.world.runs()
    for step in (1, 2):
        house.store.escalate(one.id, step, told=True)
        await house.world.runs(200)
    assert house.told == [("open", 1), ("escalated", 1)]
    house.moves(one, Verb.ACKNOWLEDGE)
    await house.world.runs(200)
    assert house.told[-1] == ("acknowledged", 1)


async def test_what_its_rule_ends_is_told_where_it_was_told(make):
    house = make(details=["operator", "reason"])
    one = house.raises()
    await house.world.runs()
    house.store.put([Ended(rule="odd", group=one.group, at=house.world.time, event="e2")], {})
    await house.world.runs()
    assert house.told == [("open", 1), ("resolved", 1)]
    subject = house.world.sent[-1][0].subjects[0]
    assert (subject.by, subject.reason) == ("", "event e2 says so")
