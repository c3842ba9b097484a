"""If these fail, what is old or damaged in the store keeps other calls from being told."""

import msgspec
import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from channels import worlds
from databases import each_kind, each_test  # noqa: F401 - fixtures
from portcullis.core.approval import Verb
from portcullis.core.notice_ports import Later
from portcullis.oversight.notices import (
    GIVE_UP_ATTEMPTS,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def make(tmp_path):
    with worlds(tmp_path) as made:
        yield made


async def test_what_is_long_over_is_forgotten_and_what_waits_is_not(make):
    world = make()
    world.asks("a")
    world.asks("b", tool="other")
    world.approvals.freeze("shop-1", world.time)
    await world.runs()
    world.moves("a", Verb.EXPIRE)
    await world.runs(1)
    world.approvals.forget(world.time + 1)
    world.notices.forget(world.time + 1, {"ops"})
    assert world.notices.following("ops", "frozen:") == ("frozen:shop-1",)
    count = len(world.sent)
    await world.runs(1)
    assert len(world.sent) == count
    assert world.notices.list(9) == ()


async def test_a_damaged_approval_keeps_no_other_from_being_told(make):
    world = make()
    world.asks("a")
    world.asks("b", tool="other")
    with world.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE approvals SET risk = 'odd' WHERE id = 'a'")
    await world.runs()
    assert world.told == [{"b": "requested"}]


async def test_a_clock_that_is_set_back_silences_nobody_and_nothing_is_tried_for_ever(make):
    month = 30 * 86_400
    world = make()
    world.asks("a")
    world.fails = [Later("away")]
    await world.runs()
    world.time -= month
    world.channel = world.started()  # monotonic time, which is the same here, goes on
    world.asks("b")
    await world.runs()
    assert {"a": "requested"} in world.told
    assert {"b": "requested"} in world.told  # and not under the notice of a month ahead
    world.asks("c", tool="other")
    world.fails = [Later("away")] * 2
    await world.runs()
    (waits,) = (one for one in world.notices.list(9) if one.state == "due")
    failed = {"attempts": GIVE_UP_ATTEMPTS - 1, "due_since": world.time + month}
    world.notices.change(waits.id, lambda one: msgspec.structs.replace(one, **failed))
    await world.runs(400)
    assert world.events[-1][0] == "notification.failed"


async def test_what_is_due_on_a_channel_that_is_gone_is_forgotten(make):
    world = make()
    world.asks("a")
    world.approvals.freeze("shop-1", world.time)
    await world.channel.look()
    world.notices.forget(world.time + 1, {"ops"})
    assert len(world.notices.list(9)) == 2
    world.notices.forget(world.time + 1, {"other"})
    assert world.notices.list(9) == ()
    assert world.notices.following("ops", "frozen:") == ()


async def test_many_damaged_approvals_keep_no_other_from_being_told(make):
    world = make()
    for number in range(70):
        world.asks(f"d{number}")
    with world.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE approvals SET risk = 'odd'")
    world.time += 1
    world.asks("good")
    await world.runs()
    assert world.told == [{"good": "requested"}]


@pytest.mark.parametrize(
    "damage",
    [b"\xff{", "{", '{"risk": "delete"}', b"", b'{"id": "\xff"}', b'{"x": ' + b"[" * 100_000],
    ids=range(6),
)
async def test_a_damaged_notice_keeps_no_other_from_being_told_and_is_said_once(make, damage):
    world = make()
    world.asks("a")
    await world.channel.look()
    if isinstance(damage, str) and world.engine.dialect.name != "sqlite":
        damage = damage.encode()  # a column of SQLite takes text for bytes
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE notices SET document = :said"), {"said": damage})
    world.moves("a", Verb.DENY, by="bea")  # it is under the damaged one
    world.asks("b")  # it would gather there
    world.asks("c", tool="other")
    with capture_logs() as said:
        await world.runs()
        await world.runs(100)
        assert len(world.notices.list(9)) >= 2
    told = {name for one in world.told for name in one}
    assert told >= {"b", "c"}
    assert [one["event"] for one in said].count("notice_damaged") == 1
    assert world.notices.waiting("ops") == 0


async def test_what_a_damaged_notice_was_to_tell_is_told_by_another(make):
    world = make()
    world.asks("a")
    await world.channel.look()
    with world.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE notices SET document = '{'")
    assert not await world.channel.step()  # it is found
    assert (world.notices.waiting("ops"), world.notices.damaged("ops")) == (0, 1)
    await world.runs()
    assert world.told == [{"a": "requested"}]
    world.notices.forget(world.time + 1, ["ops"])
    await world.channel.look()
    assert (world.channel.state.waiting, world.channel.state.damaged) == (0, 0)
