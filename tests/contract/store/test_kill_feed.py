import asyncio
import contextlib
import time

import pytest

from portcullis.core.ports import PrincipalRecord
from portcullis.core.principal import Principal, PrincipalKind, Session
from portcullis.store.directory import SqlDirectory
from portcullis.store.killfeed import DISABLED, LocalKillFeed

pytestmark = pytest.mark.anyio


@pytest.fixture
def feed(engine, clock):
    return LocalKillFeed(engine, SqlDirectory(engine), clock)


def agent(name="shop-1", credential="jti-1", session=None):
    return Principal(
        kind=PrincipalKind.AGENT,
        id=name,
        credential=credential,
        expires_at=2e9,
        session=session,
    )


def register(engine, kind, name):
    SqlDirectory(engine).create(
        PrincipalRecord(kind=kind, id=name, owner="shop", state="active", roles=(), created_at=1.0)
    )


SESSION = Session(
    id="s1",
    agent="shop-1",
    application="web",
    user="u",
    prompt="p",
    subject={},
    grant=None,
    opened_at=0,
    expires_at=2e9,
)


async def test_nobody_is_cut_off_at_first(feed):
    assert feed.stale() is False
    assert feed.reason(agent(), SESSION) is None


@pytest.mark.parametrize(
    ("scope", "value"),
    [
        ("agent", "shop-1"),
        ("application", "web"),
        ("session", "s1"),
        ("credential", "jti-1"),
    ],
)
async def test_a_cut_acts_at_once_on_all_that_it_names_and_on_nothing_else(feed, scope, value):
    await feed.cut(scope, value, "leaked")
    assert feed.reason(agent(session="s1"), SESSION) == "leaked"
    assert feed.reason(agent("shop-2", "jti-2"), None) is None
    assert await feed.lift(scope, value) is True
    assert feed.reason(agent(session="s1"), SESSION) is None
    assert await feed.lift(scope, value) is False


async def test_a_cut_session_is_cut_even_where_the_session_cannot_be_found(feed):
    await feed.cut("session", "s1", "leaked")
    assert feed.reason(agent(session="s1"), None) == "leaked"


async def test_a_cut_survives_a_restart(reopen, clock):
    first = reopen()
    feed = LocalKillFeed(first, SqlDirectory(first), clock)
    await feed.cut("agent", "shop-1", "old")
    await feed.cut("agent", "shop-1", "leaked")
    second = reopen()
    again = LocalKillFeed(second, SqlDirectory(second), clock)
    assert again.reason(agent(), None) == "leaked"


async def test_a_cut_holds_even_when_it_cannot_be_written(engine, feed):
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE cuts")
    with pytest.raises(Exception, match="cuts"):
        await feed.cut("agent", "shop-1", "leaked")
    assert feed.reason(agent(), None) == "leaked"
    with pytest.raises(Exception, match="cuts"):
        await feed.lift("agent", "shop-1")
    assert feed.reason(agent(), None) == "leaked"


async def test_a_disabled_principal_is_cut_off_at_once_and_after_a_restart(
    engine, reopen, feed, clock
):
    register(engine, PrincipalKind.AGENT, "shop-1")
    assert await feed.set_state(PrincipalKind.AGENT, "shop-1", "disabled") is True
    assert feed.reason(agent(), None) == DISABLED
    second = reopen()
    again = LocalKillFeed(second, SqlDirectory(second), clock)
    assert again.reason(agent(), None) == DISABLED
    assert await again.set_state(PrincipalKind.AGENT, "shop-1", "active") is True
    assert again.reason(agent(), None) is None


async def test_disabling_nobody_disables_nobody(feed):
    assert await feed.set_state(PrincipalKind.AGENT, "shop-1", "disabled") is False
    assert feed.reason(agent(), None) is None


async def test_a_disabled_application_ends_the_sessions_it_opened(engine, feed):
    register(engine, PrincipalKind.APPLICATION, "web")
    await feed.set_state(PrincipalKind.APPLICATION, "web", "disabled")
    assert feed.reason(agent(), SESSION) == DISABLED
    assert feed.reason(agent(), None) is None


async def test_a_feed_that_could_not_be_loaded_is_stale(engine, clock):
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE cuts")
    assert LocalKillFeed(engine, SqlDirectory(engine), clock).stale() is True


async def test_asking_costs_microseconds_with_ten_thousand_cuts(feed):
    for number in range(10_000):
        feed._cuts["credential", f"other-{number}"] = "leaked"
    principal = agent(session="s1")
    best = min(_time(feed, principal) for _ in range(5))
    assert best < 50e-6


def _time(feed, principal):
    start = time.perf_counter()
    for _ in range(1000):
        feed.reason(principal, SESSION)
    return (time.perf_counter() - start) / 1000


@pytest.fixture
async def watched(reopen, clock):
    """A feed in another process, so to speak: on a connection of its own, following changes."""
    engine = reopen()
    other = LocalKillFeed(engine, SqlDirectory(engine), clock)
    task = asyncio.create_task(other.watch(0.01))
    yield other
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def becomes(expected, ask):
    for _ in range(500):
        if ask() == expected:
            break
        await asyncio.sleep(0.01)
    assert ask() == expected


async def test_what_one_process_cuts_or_disables_acts_in_the_other(engine, feed, watched):
    register(engine, PrincipalKind.AGENT, "shop-1")
    await feed.cut("session", "s1", "leaked")
    await becomes("leaked", lambda: watched.reason(agent("shop-2"), SESSION))
    await feed.set_state(PrincipalKind.AGENT, "shop-1", "disabled")
    await becomes(DISABLED, lambda: watched.reason(agent(), None))
    await feed.lift("session", "s1")
    await feed.set_state(PrincipalKind.AGENT, "shop-1", "active")
    await becomes(None, lambda: watched.reason(agent(), SESSION))


async def test_a_feed_that_loses_its_tables_is_stale_until_they_are_back(engine, watched):
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE cuts RENAME TO hidden")
    await becomes(expected=True, ask=watched.stale)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE hidden RENAME TO cuts")
    await becomes(expected=False, ask=watched.stale)


async def test_following_others_never_drops_an_own_cut(engine, watched):
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER refuse BEFORE INSERT ON cuts BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    with pytest.raises(Exception, match="no"):
        await watched.cut("agent", "shop-1", "leaked")
    register(engine, PrincipalKind.AGENT, "shop-2")
    for _ in range(10):
        await asyncio.sleep(0.01)
        assert watched.reason(agent(), None) == "leaked"
