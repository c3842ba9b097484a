import asyncio
import contextlib
import time
import timeit

import pytest

from databases import holding, refuse
from portcullis.core.feed import Standing
from portcullis.core.lifecycle import State
from portcullis.core.ports import PrincipalRecord
from portcullis.core.principal import Principal, PrincipalKind, Session
from portcullis.store.directory import SqlDirectory
from portcullis.store.killfeed import ROTATED, LocalKillFeed, why

pytestmark = pytest.mark.anyio

SUSPENDED = why(State.SUSPENDED)


@pytest.fixture
def feed(engine, clock):
    return LocalKillFeed(engine, SqlDirectory(engine), clock)


def agent(name="shop-1", credential="jti-1", session=None, **fields):
    return Principal(
        kind=PrincipalKind.AGENT,
        id=name,
        credential=credential,
        expires_at=2e9,
        session=session,
        **fields,
    )


def record(kind=PrincipalKind.AGENT, name="shop-1", state=State.ACTIVE, **fields):
    values = {"owner": "shop", "roles": (), "created_at": 1.0} | fields
    return PrincipalRecord(kind=kind, id=name, state=state, **values)


def register(engine, kind, name, **fields):
    SqlDirectory(engine).create(record(kind, name, **fields))


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


async def test_what_is_said_while_the_database_is_locked_is_written_in_its_order(engine, feed):
    with holding(engine, "cuts"):
        cutting = asyncio.create_task(feed.cut("agent", "shop-1", "first"))
        await asyncio.sleep(0.05)
        lifting = asyncio.create_task(feed.lift("agent", "shop-1"))
        await asyncio.sleep(0.05)
        assert feed.reason(agent(), None) == "first"
    await asyncio.gather(cutting, lifting)
    assert feed.reason(agent(), None) is None
    assert await feed.kept() == ()
    # The other way round: who is cut off again, while that is being taken back, stays cut off.
    await feed.cut("agent", "shop-1", "first")
    with holding(engine, "cuts"):
        lifting = asyncio.create_task(feed.lift("agent", "shop-1"))
        await asyncio.sleep(0.05)
        cutting = asyncio.create_task(feed.cut("agent", "shop-1", "first"))
        await asyncio.sleep(0.05)
        seen = []
        feed.subscribe(lambda: seen.append(feed.reason(agent(), None)))
    await asyncio.gather(cutting, lifting)
    assert set(seen) == {"first"}
    assert [(one.value, one.durable) for one in await feed.kept()] == [("shop-1", True)]


@pytest.mark.parametrize("state", [state for state in State if state is not State.ACTIVE])
async def test_who_is_not_active_is_cut_off_at_once_and_after_a_restart(
    engine, reopen, feed, clock, state
):
    register(engine, PrincipalKind.AGENT, "shop-1")
    assert await feed.put(record(state=state)) is True
    assert feed.reason(agent(), None) == why(state)
    second = reopen()
    again = LocalKillFeed(second, SqlDirectory(second), clock)
    assert again.reason(agent(), None) == why(state)
    assert await again.put(record()) is True
    assert again.reason(agent(), None) is None


async def test_changing_nobody_cuts_nobody_off(feed):
    assert await feed.put(record(state=State.SUSPENDED)) is False
    assert feed.reason(agent(), None) is None


async def test_a_suspended_application_ends_the_sessions_it_opened(engine, feed):
    register(engine, PrincipalKind.APPLICATION, "web")
    await feed.put(record(PrincipalKind.APPLICATION, "web", State.SUSPENDED))
    assert feed.reason(agent(), SESSION) == SUSPENDED
    assert feed.reason(agent(), None) is None


async def test_a_hold_acts_before_and_without_the_database(engine, feed):
    register(engine, PrincipalKind.AGENT, "shop-1")
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE principals RENAME TO hidden")
    feed.hold(PrincipalKind.AGENT, "shop-1", State.REVOKED)
    assert feed.reason(agent(), None) == why(State.REVOKED)
    with pytest.raises(Exception, match="principals"):
        await feed.put(record(state=State.REVOKED))
    assert feed.reason(agent(), None) == why(State.REVOKED)


async def test_a_hold_is_taken_back_only_by_who_made_it_or_by_coming_back_to_life(engine, feed):
    register(engine, PrincipalKind.AGENT, "shop-1")
    failed = feed.hold(PrincipalKind.AGENT, "shop-1", State.SUSPENDED)
    again = feed.hold(PrincipalKind.AGENT, "shop-1", State.SUSPENDED)
    again()
    assert feed.reason(agent(), None) == SUSPENDED
    await feed.put(record(purpose="a change that does not bring it back to life"))
    assert feed.reason(agent(), None) == SUSPENDED
    await feed.put(record(state=State.SUSPENDED))
    failed()
    assert feed.reason(agent(), None) == SUSPENDED
    await feed.put(record())
    assert feed.reason(agent(), None) is None


async def test_a_rotation_outdates_what_is_older_and_nothing_else(engine, reopen, feed, clock):
    register(engine, PrincipalKind.AGENT, "shop-1")
    feed.outdate(PrincipalKind.AGENT, "shop-1", 100.0)
    old, new = agent(issued_at=99.999), agent(issued_at=100.0)
    assert (feed.reason(old, None), feed.reason(new, None)) == (ROTATED, None)
    assert feed.reason(agent("shop-2", issued_at=99.0, chain=("shop-1",)), None) == ROTATED
    assert feed.reason(agent("shop-2", issued_at=99.0), None) is None
    await feed.put(record(rotated_at=100.0))
    assert (feed.reason(old, None), feed.reason(new, None)) == (ROTATED, None)
    second = reopen()
    again = LocalKillFeed(second, SqlDirectory(second), clock)
    assert (again.reason(old, None), again.reason(new, None)) == (ROTATED, None)


async def test_a_rotation_that_was_none_is_taken_back(feed):
    release = feed.outdate(PrincipalKind.AGENT, "shop-1", 100.0)
    release()
    assert feed.reason(agent(issued_at=1.0), None) is None


async def test_a_cut_certificate_is_cut_under_every_token_shown_with_it(feed):
    await feed.cut("credential", "svid:ab12", "leaked")
    assert feed.reason(agent(credential="svid:ab12", svid="ab12"), None) == "leaked"
    assert feed.reason(agent(credential="jti-9", svid="ab12"), None) == "leaked"
    assert feed.reason(agent(credential="jti-9", svid="ab13"), None) is None


async def test_who_acts_for_somebody_who_is_cut_off_is_cut_off_too(engine, feed):
    register(engine, PrincipalKind.AGENT, "shop-1")
    await feed.put(record(state=State.REVOKED))
    acting = agent("shop-3", chain=("shop-2", "shop-1"))
    assert feed.reason(acting, None) == why(State.REVOKED)
    assert feed.reason(agent("shop-3", chain=("shop-2",)), None) is None


async def test_whoever_listens_is_told_at_once_even_when_another_listener_fails(feed):
    heard = []

    def broken():
        raise RuntimeError

    feed.subscribe(broken)
    feed.subscribe(lambda: heard.append(feed.reason(agent(), None)))
    feed.sever("agent", "shop-1", "leaked")
    assert heard == ["leaked"]
    feed.hold(PrincipalKind.AGENT, "shop-2", State.SUSPENDED)
    feed.outdate(PrincipalKind.AGENT, "shop-2", 5.0)
    await feed.lift("agent", "shop-1")
    assert heard[-1] is None
    assert len(heard) == 4


async def test_a_cut_and_a_suspension_are_lifted_one_by_one(engine, feed):
    register(engine, PrincipalKind.AGENT, "shop-1")
    await feed.put(record(state=State.SUSPENDED))
    await feed.cut("agent", "shop-1", "leaked")
    assert feed.reason(agent(), None) == "leaked"
    await feed.lift("agent", "shop-1")
    assert feed.reason(agent(), None) == SUSPENDED
    await feed.put(record())
    assert feed.reason(agent(), None) is None


async def test_a_foreign_identity_is_found_in_memory(engine, reopen, clock, watched):
    register(engine, PrincipalKind.AGENT, "shop-1", spiffe_id="spiffe://partner.test/shop")
    found = (PrincipalKind.AGENT, "shop-1")
    await becomes(found, lambda: watched.named("spiffe://partner.test/shop"))
    assert watched.named("spiffe://partner.test/other") is None


async def test_a_feed_that_could_not_be_loaded_is_stale(engine, clock):
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE cuts")
    assert LocalKillFeed(engine, SqlDirectory(engine), clock).stale() is True


async def test_asking_costs_a_microsecond_while_nobody_is_cut_off(feed):
    principal = agent(session="s1", svid="ab12")
    best = min(timeit.repeat(lambda: feed.reason(principal, SESSION), number=10_000, repeat=5))
    assert best / 10_000 < 1e-6


async def test_asking_costs_microseconds_with_ten_thousand_cuts(feed):
    for number in range(10_000):
        feed.sever("credential", f"other-{number}", "leaked")
        feed.outdate(PrincipalKind.AGENT, f"other-{number}", 5.0)
    principal = agent(session="s1", svid="ab12", chain=("shop-2",))
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
    for _ in range(3000):
        if ask() == expected:
            break
        await asyncio.sleep(0.01)
    assert ask() == expected


async def test_what_one_process_cuts_or_suspends_acts_in_the_other_and_is_told_there(
    engine, feed, watched
):
    register(engine, PrincipalKind.AGENT, "shop-1")
    heard = []
    watched.subscribe(lambda: heard.append(watched.reason(agent("shop-2"), SESSION)))
    await feed.cut("session", "s1", "leaked")
    await becomes("leaked", lambda: watched.reason(agent("shop-2"), SESSION))
    assert heard == ["leaked"]
    await feed.put(record(state=State.SUSPENDED, rotated_at=7.0))
    await becomes(SUSPENDED, lambda: watched.reason(agent(), None))
    await feed.lift("session", "s1")
    await feed.put(record(rotated_at=7.0))
    await becomes(ROTATED, lambda: watched.reason(agent(issued_at=6.9), SESSION))
    assert watched.reason(agent(issued_at=7.0), SESSION) is None


async def test_what_has_nothing_to_do_with_cuts_wakes_nobody(engine, watched):
    heard = []
    watched.subscribe(lambda: heard.append(True))
    register(engine, PrincipalKind.AGENT, "shop-9")
    await asyncio.sleep(0.1)
    assert heard == []


async def test_a_feed_that_loses_its_tables_is_stale_until_they_are_back(engine, watched):
    heard = []
    watched.subscribe(lambda: heard.append(watched.stale()))
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE cuts RENAME TO hidden")
    await becomes(expected=True, ask=watched.stale)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE hidden RENAME TO cuts")
    await becomes(expected=False, ask=watched.stale)
    assert heard == [True, False]


async def test_following_others_never_drops_an_own_cut(engine, watched):
    refuse(engine, "cuts")
    with pytest.raises(Exception, match="no"):
        await watched.cut("agent", "shop-1", "leaked")
    register(engine, PrincipalKind.AGENT, "shop-2")
    for _ in range(10):
        await asyncio.sleep(0.01)
        assert watched.reason(agent(), None) == "leaked"


def other(kind, name="x"):
    return Principal(kind=kind, id=name, credential=f"jti-{kind}", expires_at=2e9)


async def test_killing_everybody_spares_only_operators_and_gateways(feed):
    await feed.cut("all", "*", "fire")
    cut_off = {kind for kind in PrincipalKind if feed.reason(other(kind), None) == "fire"}
    assert cut_off == {PrincipalKind.AGENT, PrincipalKind.APPLICATION, PrincipalKind.USER}
    await feed.lift("all", "*")
    assert feed.reason(other(PrincipalKind.USER), None) is None


async def test_a_role_is_whoever_has_it_in_the_policy_in_force(feed):
    roles = {"shop-1": "clerk", "shop-2": "auditor"}
    heard = []
    feed.by_role(roles.get, roles.values)
    feed.subscribe(lambda: heard.append(True))
    await feed.cut("role", "clerk", "gone wrong")
    heard.clear()
    assert feed.reason(agent(), None) == "gone wrong"
    assert feed.reason(agent("shop-2", "jti-2"), None) is None
    assert feed.reason(agent("shop-2", "jti-2", chain=("shop-1",)), None) == "gone wrong"
    assert feed.reason(agent("shop-9", "jti-9"), None) is None
    assert feed.reason(other(PrincipalKind.APPLICATION), None) is None
    roles["shop-2"] = "clerk"
    feed.policy_changed()
    assert heard == [True]
    assert feed.reason(agent("shop-2", "jti-2"), None) == "gone wrong"
    assert (feed.has_role("clerk"), feed.has_role("nobody")) == (True, False)
    await feed.lift("role", "clerk")
    assert feed.reason(agent(), None) is None


async def test_where_no_policy_is_known_a_cut_role_is_every_agent(feed):
    await feed.cut("role", "clerk", "gone wrong")
    assert feed.reason(agent("anybody"), None) == "gone wrong"
    assert feed.reason(other(PrincipalKind.OPERATOR), None) is None
    assert feed.has_role("clerk") is None


async def test_an_isolation_is_no_cut_and_is_of_an_agent_or_a_session(engine, reopen, feed, clock):
    await feed.isolate("agent", "shop-1", "odd", "ops")
    assert feed.isolated(agent(), None) == "odd"
    assert feed.isolated(agent("shop-2", chain=("shop-1",)), None) == "odd"
    assert feed.isolated(agent("shop-2"), None) is None
    assert feed.reason(agent(), SESSION) is None
    feed.confine("session", "s1", "odder")
    assert feed.isolated(agent("shop-2", session="s1"), None) == "odder"
    second = reopen()
    again = LocalKillFeed(second, SqlDirectory(second), clock)
    assert again.isolated(agent(), None) == "odd"
    assert again.isolated(agent("shop-2", session="s1"), None) is None  # never made durable
    assert await feed.release("agent", "shop-1") is True
    assert await feed.release("session", "s1") is True
    assert await feed.release("session", "s1") is False
    assert feed.isolated(agent(), SESSION) is None


async def test_what_is_kept_says_who_made_it_and_what_is_only_in_memory(feed, clock):
    await feed.cut("agent", "shop-1", "leaked", "ops")
    await feed.isolate("session", "s1", "odd", "ops")
    feed.sever("role", "clerk", "at once")
    found = {(one.scope, one.value): one for one in await feed.kept()}
    assert [found[key].durable for key in found] == [False, True, True]
    assert found["agent", "shop-1"].by == "ops"
    assert found["agent", "shop-1"].made_at == clock.now()
    assert [found[key].isolation for key in (("session", "s1"), ("agent", "shop-1"))] == [
        True,
        False,
    ]


async def test_what_another_process_pushes_is_a_layer_that_it_alone_takes_back(feed):
    feed.push([Standing("agent", "shop-1", "pushed"), Standing("session", "s1", "", "odd")])
    assert feed.reason(agent(), None) == "pushed"
    assert feed.isolated(agent("shop-2", session="s1"), None) == "odd"
    await feed.cut("agent", "shop-1", "known")
    feed.push([Standing("agent", "shop-1")])
    assert feed.reason(agent(), None) == "known"
    feed.push(
        [Standing("agent", "shop-2", "whole"), Standing("agent", "x", rotated=5.0)], whole=True
    )
    assert feed.isolated(agent("shop-2", session="s1"), None) is None
    assert feed.reason(agent("shop-2"), None) == "whole"
    assert feed.reason(agent("x", issued_at=4.0), None) == ROTATED
    feed.push([], whole=True)
    assert feed.reason(agent("shop-2"), None) is None
    assert feed.reason(agent(), None) == "known"
    assert {one.key for one in feed.standings()} == {("agent", "shop-1")}


async def test_a_feed_whose_lease_is_over_is_stale_and_says_so(feed):
    fresh, heard = [True], []
    feed.subscribe(lambda: heard.append(feed.stale()))
    feed.lease(lambda: fresh[0])
    fresh[0] = False
    assert feed.stale() is True
    feed.lapsed()
    feed.lease(None)
    assert feed.stale() is False
    assert heard == [False, True, False]


class Heard:
    """A relay that remembers."""

    def __init__(self):
        self.published = []

    def publish(self, standings):
        self.published += standings

    async def acknowledged(self, seconds):
        return ()


async def test_every_change_is_published_once_and_those_of_other_processes_too(
    engine, feed, watched
):
    register(engine, PrincipalKind.AGENT, "shop-1")
    relay, theirs = Heard(), Heard()
    feed.relay(relay)
    watched.relay(theirs)
    await feed.cut("session", "s1", "leaked")
    await feed.put(record(state=State.SUSPENDED, rotated_at=7.0))
    await feed.isolate("agent", "shop-1", "odd")
    assert relay.published == [
        Standing("session", "s1", "leaked"),
        Standing("agent", "shop-1", SUSPENDED, "", 7.0),
        Standing("agent", "shop-1", SUSPENDED, "odd", 7.0),
    ]
    await becomes("odd", lambda: watched.isolated(agent(), None))
    said = {one.key: one for one in theirs.published}
    assert said == {one.key: one for one in feed.standings()}
    await feed.lift("session", "s1")
    assert relay.published[-1] == Standing("session", "s1")
