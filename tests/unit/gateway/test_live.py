"""If these fail, whoever is cut off keeps what is open, or others lose theirs."""

import asyncio
from unittest.mock import Mock

import pytest

from portcullis.core.credential import Peer
from portcullis.core.errors import Problem
from portcullis.core.feed import Swept
from portcullis.core.spiffe import SpiffeId
from portcullis.gateway.live import GRACE, SOON, Connection, cuttable, ended, quietly, settled

pytestmark = pytest.mark.anyio


def peer(path="/agent/shop-1", domain="shop.test", serial="0a", anchor="root"):
    return Peer(
        id=SpiffeId(domain, path),
        serial=serial,
        thumbprint="t",
        anchor=anchor,
        issued_at=900.0,
        expires_at=1300.0,
    )


class Socket:
    """A transport that is aborted, and then lost, as asyncio does it."""

    def __init__(self, live, shown=None):
        self.aborted = False
        self.connection = Connection(self.abort, shown)
        if shown:
            live.connect(self.connection)

    def abort(self):
        self.aborted = True


class Call:
    """A request that waits for ever, and what ended it."""

    def __init__(self, live, context, connection=None):
        self.problem = None
        self.went_on = False
        self.task = asyncio.create_task(self.run(live, context, connection))

    async def run(self, live, context, connection):
        with live.running(context, connection):
            try:
                with cuttable():
                    async with asyncio.timeout(5):
                        await asyncio.wait({asyncio.ensure_future(asyncio.sleep(5))})
            except Problem as problem:
                self.problem = problem
            await asyncio.sleep(0)  # the task goes on as if it had not been cancelled
            self.went_on = True


async def turn():
    await asyncio.sleep(SOON * 5)


async def test_a_cut_reaches_the_agent_s_calls_and_idle_connections_at_once(live, feed, context):
    mine, other = Socket(live, peer()), Socket(live, peer("/agent/other", serial="0b"))
    call, neighbour = Call(live, context()), Call(live, context("other"))
    await turn()
    feed.cuts["shop-1"] = "killed"
    live.sweep()
    await turn()
    assert (mine.aborted, other.aborted) == (True, False)
    assert (call.problem.code, call.problem.detail) == ("PC4001", "killed")
    assert call.went_on
    assert neighbour.problem is None
    neighbour.task.cancel()


async def test_who_is_told_why_has_the_grace_and_no_longer(live, feed, context):
    busy = Socket(live, peer())
    call = Call(live, context(), busy.connection)
    await turn()
    feed.cuts["shop-1"] = "killed"
    live.sweep()
    await turn()
    assert not busy.aborted
    assert call.problem.code == "PC4001"
    await asyncio.sleep(GRACE * 2)
    assert busy.aborted


async def test_a_call_is_cancelled_once_however_often_the_feed_changes(live, feed, context):
    held = asyncio.Event()
    seen = []

    async def run():
        with live.running(context(), None):
            try:
                await asyncio.sleep(5)
            except asyncio.CancelledError as error:
                seen.append(ended(error).code)
            await held.wait()
            seen.append("answered")

    task = asyncio.create_task(run())
    await turn()
    feed.cuts["shop-1"] = "killed"
    for _ in range(3):
        live.sweep()
        await turn()
    held.set()
    await task
    assert seen == ["PC4001", "answered"]


async def test_a_cut_keeps_its_reason_while_the_call_waits_for_what_it_has_ended(
    live, feed, context
):
    """Else the caller is told of a fault of the gate's (500), and not why it was cut off."""
    seen = []

    def cut():
        feed.cuts["shop-1"] = "killed"
        live.sweep()

    async def run():
        watching = asyncio.create_task(asyncio.sleep(5))
        await asyncio.sleep(0)
        with live.running(context(), None):
            asyncio.get_running_loop().call_soon(cut)
            watching.cancel()
            try:
                await settled((watching,))
            except asyncio.CancelledError as error:
                seen.append(ended(error))

    await asyncio.create_task(run())
    assert [problem.code for problem in seen] == ["PC4001"]


async def test_those_on_whose_behalf_it_acts_are_reached_too(live, feed, context):
    call = Call(live, context("helper", chain=("shop-1",)))
    await turn()
    feed.cuts["shop-1"] = "killed"
    live.sweep()
    await turn()
    assert call.problem.code == "PC4001"


async def test_a_caller_that_leaves_ends_its_call(live, context):
    socket = Socket(live, peer())
    call = Call(live, context(), socket.connection)
    await turn()
    socket.connection.lost()
    await turn()
    assert call.problem.code == "PC5014"


async def test_nothing_begins_for_a_caller_that_has_left(live, context):
    socket = Socket(live)
    socket.connection.lost()
    call = Call(live, context(), socket.connection)
    with pytest.raises(Problem, match="PC5014"):
        await call.task


async def test_a_cut_off_certificate_does_not_even_connect(live, feed):
    feed.cuts["svid:0a"] = "revoked"
    with pytest.raises(Problem, match="PC4001"):
        Socket(live, peer())


async def test_a_certificate_of_another_domain_is_known_by_its_first_request(live, feed, context):
    foreign = Socket(live, peer("/agent/shop-1", "other.test"))
    feed.cuts["shop-1"] = "it is not who is meant"
    live.sweep()
    await turn()
    assert not foreign.aborted
    call = Call(live, context("guest"), foreign.connection)
    await turn()
    call.task.cancel()
    await turn()
    feed.cuts["guest"] = "killed"
    live.sweep()
    await turn()
    assert foreign.aborted


async def test_an_authority_that_is_trusted_no_more_takes_its_connections_with_it(
    live, trust, context
):
    idle, busy = Socket(live, peer(anchor="old")), Socket(live, peer(anchor="old", serial="0c"))
    kept = Socket(live, peer(serial="0b"))
    call = Call(live, context(), busy.connection)
    await turn()
    trust.gone.add("old")
    live.sweep()
    await turn()
    assert (idle.aborted, kept.aborted) == (True, False)
    assert call.problem.code == "PC2021"
    await asyncio.sleep(GRACE * 2)
    assert busy.aborted


async def test_how_many_connections_a_cut_closed_and_how_long_that_took_is_logged(
    live, feed, clock, monkeypatch
):
    logged = Mock()
    monkeypatch.setattr("portcullis.gateway.live.log", logged)
    sockets = [Socket(live, peer()) for _ in range(3)]
    feed.cuts["shop-1"] = "killed"
    live.sweep()
    clock.time += 0.004
    await turn()
    assert all(socket.aborted for socket in sockets)
    logged.info.assert_called_once_with("connections_cut", count=3, milliseconds=4.0)


async def test_a_closed_connection_is_forgotten(live, feed):
    socket = Socket(live, peer())
    live.disconnect(socket.connection)
    feed.cuts["shop-1"] = "killed"
    live.sweep()
    await turn()
    assert not socket.aborted


async def test_a_connection_is_retired_before_its_certificate_ends_but_not_closed(live, clock):
    connection = Socket(live, peer()).connection
    assert live.lasts(connection) == 300.0
    assert not live.retired(connection)
    clock.time = 1200.0
    assert live.retired(connection)
    live.check(connection)
    clock.time = 1300.0
    assert live.lasts(connection) == 0.0
    with pytest.raises(Problem, match="PC2022"):
        live.check(connection)


async def test_any_other_cancellation_stays_one():
    with pytest.raises(asyncio.CancelledError), cuttable():
        raise asyncio.CancelledError("the gate closes")


async def test_an_answer_that_nobody_reads_is_not_a_fault():
    async def sending():
        raise asyncio.CancelledError(Problem("PC5014", "gone"))

    await quietly(sending())


async def test_while_the_feed_is_stale_every_call_ends_and_no_connection(live, feed, context):
    idle = Socket(live, peer())
    mine, other = Call(live, context()), Call(live, context("other"))
    await turn()
    feed.is_stale = True
    live.sweep()
    await turn()
    assert (mine.problem.code, other.problem.code) == ("PC4002", "PC4002")
    assert not idle.aborted


async def test_what_a_sweep_ended_is_counted(live, feed, context):
    busy, idle = Socket(live, peer()), Socket(live, peer())
    Call(live, context(), busy.connection)
    neighbour = Call(live, context("other"))
    await turn()
    assert live.swept() == Swept()
    feed.cuts["shop-1"] = "killed"
    live.sweep()
    assert live.swept() == Swept(1, 2)
    await turn()
    neighbour.task.cancel()
    idle.connection.lost()
