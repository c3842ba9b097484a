"""The life of a principal, as the one table of states has it and as time leads it on."""

import asyncio

import anyio
import pytest
from sqlalchemy.exc import OperationalError

from portcullis.core.errors import Problem
from portcullis.core.lifecycle import TRANSITIONS, State, Verb
from portcullis.core.principal import PrincipalKind

pytestmark = pytest.mark.anyio

AGENT = PrincipalKind.AGENT
DAY = 86_400


@pytest.fixture
def principals(world):
    return world.services.principals("control")


@pytest.fixture
def context(world):
    return world.context("ada", "admin")


def state(world, name="shop-1"):
    return world.services.directory.get(AGENT, name).state


async def becomes(world, wanted):
    for _ in range(500):
        if state(world) is wanted:
            break
        await anyio.sleep(0.01)
    assert state(world) is wanted


async def create(principals, context, name="shop-1", kind=AGENT, **fields):
    return await principals.create(context, kind, name, owner="shop", purpose="sells", **fields)


@pytest.mark.parametrize("start", list(State))
@pytest.mark.parametrize("verb", [verb for verb in Verb if verb is not Verb.EXPIRE])
async def test_every_verb_does_what_the_table_says_and_nothing_else(
    world, principals, context, start, verb
):
    await create(principals, context)
    await world.set_state("agent", "shop-1", start)
    after = TRANSITIONS.get((start, verb))
    if after is None:
        with pytest.raises(Problem, match="PC2073"):
            await principals.change(context, AGENT, "shop-1", verb)
    else:
        assert (await principals.change(context, AGENT, "shop-1", verb)).state is after
    assert state(world) is (after or start)
    cut = world.services.feed.reason(world.principal("agent", "shop-1"), None)
    assert (cut is None) == (state(world) is State.ACTIVE)


async def test_time_expires_who_is_not_reviewed_and_nobody_else(world, principals, context):
    for name in ("due", "suspended", "reviewed", "revoked"):
        await create(principals, context, name, review_at=world.clock.now() + 10)
    await create(principals, context, "later", review_at=world.clock.now() + 11)
    await world.set_state("agent", "suspended", "suspended")
    await world.set_state("agent", "revoked", "revoked")
    await principals.change(context, AGENT, "reviewed", Verb.REVIEW)
    assert await principals.expire_due() == 0
    world.clock.time += 10
    assert await principals.expire_due() == 2
    found = {record.id: record.state for record in world.services.directory.list(AGENT)}
    assert found == {
        "due": "expired",
        "suspended": "expired",
        "reviewed": "active",
        "revoked": "revoked",
        "later": "active",
    }
    feed = world.services.feed
    assert feed.reason(world.principal("agent", "due"), None) == "the principal is expired"
    event = world.recorder.last
    assert (event.method, event.principal_kind, event.source) == (
        "principals.expire",
        "gateway",
        "time",
    )
    assert await principals.expire_due() == 0


async def test_an_expired_agent_lives_again_once_it_is_reviewed(world, principals, context):
    await create(principals, context, review_at=world.clock.now() + 1)
    world.clock.time += 1
    await principals.expire_due()
    with pytest.raises(Problem, match="PC4001"):
        await principals.mint(context, AGENT, "shop-1")
    record = await principals.change(context, AGENT, "shop-1", Verb.REVIEW)
    assert (record.state, record.review_at) == (State.ACTIVE, world.clock.now() + 90 * DAY)
    await principals.mint(context, AGENT, "shop-1")


async def test_an_overdue_agent_gets_nothing_even_before_time_has_done_its_part(
    world, principals, context
):
    await create(principals, context, review_at=world.clock.now() + 1)
    world.clock.time += 1
    with pytest.raises(Problem, match="PC4001"):
        await principals.present(AGENT, "shop-1")


async def test_an_agent_that_is_reviewed_while_it_would_expire_stays_alive(
    world, principals, context
):
    await create(principals, context, review_at=world.clock.now() + 1)
    world.clock.time += 1
    directory = world.services.directory
    due = directory.due
    stale = due(world.clock.now())
    await principals.change(context, AGENT, "shop-1", Verb.REVIEW)
    directory.due = lambda now: stale
    await principals.expire_due()
    assert state(world) is State.ACTIVE
    assert world.services.feed.reason(world.principal("agent", "shop-1"), None) is None


async def test_reviews_are_watched_even_after_a_failure(world, principals, context):
    await create(principals, context, review_at=world.clock.now() + 1)
    world.clock.time += 1
    directory, calls = world.services.directory, []
    due = directory.due

    def failing(now):
        calls.append(now)
        if len(calls) == 1:
            raise OSError("disk")
        return due(now)

    directory.due = failing
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(principals.watch_reviews, 0.01)
        await becomes(world, State.EXPIRED)
        tasks.cancel_scope.cancel()


async def test_two_changes_at_once_lose_neither(world, principals, context):
    await create(principals, context)
    other = world.services.principals("api")
    await asyncio.gather(
        principals.rotate(context, AGENT, "shop-1"),
        other.change(context, AGENT, "shop-1", Verb.REVIEW, review_at=1_900_000_000.0),
        principals.change(context, AGENT, "shop-1", Verb.SUSPEND),
    )
    record = world.services.directory.get(AGENT, "shop-1")
    assert (record.state, record.review_at) == (State.SUSPENDED, 1_900_000_000.0)
    assert record.rotated_at > 0


async def test_a_cut_is_finished_even_when_who_asked_for_it_is_cut_off_by_it(
    world, principals, context
):
    await create(principals, context)
    task = asyncio.ensure_future(principals.change(context, AGENT, "shop-1", Verb.REVOKE))
    world.services.feed.subscribe(task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task
    await becomes(world, State.REVOKED)


async def test_what_is_handed_out_after_a_rotation_is_good_at_once(world, principals, context):
    await create(principals, context)
    world.clock.time = 1_800_000_000.0
    task = asyncio.ensure_future(principals.rotate(context, AGENT, "shop-1"))
    record = await task
    assert record.rotated_at == 1_800_000_000.001
    old = world.principal("agent", "shop-1")
    assert world.services.feed.reason(old, None) == "its credentials were rotated"
    world.clock.time = record.rotated_at
    assert world.services.feed.reason(world.principal("agent", "shop-1"), None) is None


@pytest.mark.parametrize("verb", ["suspend", "revoke", "rotate"])
async def test_what_cuts_off_makes_the_join_tokens_useless_too(world, principals, context, verb):
    await create(principals, context)
    registrations = world.services.registrations
    registrations.join(b"d" * 32, AGENT, "shop-1", world.clock.now() + 60)
    if verb == "rotate":
        await principals.rotate(context, AGENT, "shop-1")
    else:
        await principals.change(context, AGENT, "shop-1", Verb(verb))
    assert registrations.joined(b"d" * 32, world.clock.now()) is None


async def test_applications_live_as_agents_do_and_operators_are_not_reviewed(
    world, principals, context
):
    web = await create(principals, context, "web", PrincipalKind.APPLICATION)
    assert web.review_at == world.clock.now() + 90 * DAY
    ada = await create(principals, context, "ada", PrincipalKind.OPERATOR, roles=("admin",))
    assert ada.review_at == 0
    with pytest.raises(Problem, match="PC2073"):
        await principals.change(context, PrincipalKind.OPERATOR, "ada", Verb.REVIEW)


async def test_a_cut_that_the_database_does_not_take_acts_and_says_how_far(
    world, principals, context, monkeypatch
):
    await create(principals, context)
    put = world.services.directory.put

    def locked(record):
        raise OperationalError("UPDATE principals", {}, Exception("database is locked"))

    feed, agent = world.services.feed, world.principal("agent", "shop-1")
    for cut in (
        lambda: principals.change(context, AGENT, "shop-1", Verb.SUSPEND),
        lambda: principals.rotate(context, AGENT, "shop-1"),
    ):
        monkeypatch.setattr(world.services.directory, "put", locked)
        with pytest.raises(Problem, match="it acts in this process") as said:
            await cut()
        assert (said.value.code, "a restart forgets" in said.value.hint) == ("PC9002", True)
        assert feed.reason(agent, None) is not None
        monkeypatch.setattr(world.services.directory, "put", put)
        await cut()
        assert feed.reason(agent, None) is not None


async def test_a_cut_that_cannot_be_recorded_acts_and_says_so(world, principals, context):
    await create(principals, context)
    world.recorder.full = True
    with pytest.raises(Problem, match="it acts all the same") as said:
        await principals.change(context, AGENT, "shop-1", Verb.SUSPEND)
    assert said.value.code == "PC6001"
    assert state(world) is State.SUSPENDED


async def test_no_token_outlives_the_review_of_whom_it_is_for(world, principals, context):
    await create(principals, context, review_at=world.clock.now() + 20)
    minted = await principals.mint(context, AGENT, "shop-1")
    assert minted.expires_at <= world.clock.now() + 20


async def test_a_rotation_in_the_future_of_a_clock_set_back_is_an_answer_and_no_wait(
    world, principals, context
):
    await create(principals, context)
    world.clock.time += 86_400
    await principals.rotate(context, AGENT, "shop-1")
    world.clock.time -= 86_400
    with anyio.fail_after(5), pytest.raises(Problem, match="the clock went back") as said:
        await principals.mint(context, AGENT, "shop-1")
    assert (said.value.code, "rotate it again" in said.value.hint) == ("PC4001", True)
    await principals.rotate(context, AGENT, "shop-1")
    world.clock.time += 0.001
    await principals.mint(context, AGENT, "shop-1")
