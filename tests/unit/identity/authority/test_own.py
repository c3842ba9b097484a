import asyncio
import contextlib
import ssl

import pytest

from authorities import DOMAIN, root_of
from portcullis.core.errors import Problem
from portcullis.core.spiffe import parse
from portcullis.identity import own
from portcullis.identity.authority import Authority
from portcullis.identity.own import OwnSvid
from portcullis.wire.certificates import load_identity

GATE = parse(f"spiffe://{DOMAIN}/gateway/gate")

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def running(svid):
    task = asyncio.create_task(svid.run())
    await asyncio.sleep(0)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - files and clocks tell nobody
            await asyncio.sleep(0.002)


@pytest.fixture
def quick(monkeypatch):
    """The clock of the test jumps: look at it often."""
    monkeypatch.setattr(own, "_LOOK_SECONDS", 0.005)
    monkeypatch.setattr(own, "_BACK_OFF", (0.01, 0.02))


async def test_it_is_there_at_once_and_a_tls_context_takes_it(world):
    svid, key = OwnSvid(world.open(), GATE, ("localhost",), world.clock).current()
    assert svid.id == GATE
    load_identity(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), svid.chain, key)


async def test_it_is_renewed_at_half_of_its_life_with_a_new_key(world, quick):
    mine = OwnSvid(world.open(), GATE, (), world.clock)
    first, told = mine.current(), []
    mine.subscribe(lambda: told.append(mine.current()[0].serial))
    async with running(mine):
        world.clock.at += 1799
        await asyncio.sleep(0.03)
        assert mine.current() == first
        world.clock.at += 2
        await until(lambda: told)
        await asyncio.sleep(0.03)
    assert told == [mine.current()[0].serial]
    assert mine.current()[1] != first[1]


async def test_it_survives_an_authority_that_cannot_sign_and_recovers(world, quick, monkeypatch):
    authority = world.open()
    mine = OwnSvid(authority, GATE, (), world.clock)
    first, tries, real = mine.current(), [], Authority.issue

    def failing(self, *arguments, **options):
        tries.append(1)
        raise Problem("PC7008", "not now")

    monkeypatch.setattr(Authority, "issue", failing)
    async with running(mine):
        world.clock.at += 1801
        await until(lambda: len(tries) >= 3)
        assert mine.current() == first
        monkeypatch.setattr(Authority, "issue", real)
        await until(lambda: mine.current() != first)


async def test_it_goes_on_when_the_clock_went_back_and_is_set_right(world, quick):
    authority = world.open()
    mine = OwnSvid(authority, GATE, (), world.clock)
    first, signing = mine.current(), authority.state().active("signing")
    async with running(mine):
        world.clock.at = signing.created_at + 1801
        world.clock.at -= 1801 + 7200
        with pytest.raises(Problem, match="PC7008"):
            mine.renew()
        await asyncio.sleep(0.03)
        world.clock.at += 1801 + 7200
        await until(lambda: mine.current() != first)


async def test_a_rotation_leaves_it_and_a_retirement_replaces_it_at_once(world):
    authority = world.open()
    mine = OwnSvid(authority, GATE, (), world.clock)
    first = mine.current()
    async with running(mine):
        await asyncio.to_thread(authority.rotate, "root")
        await asyncio.sleep(0.03)
        assert mine.current() == first
        await asyncio.to_thread(authority.retire, "root")
        await until(lambda: mine.current() != first)
    assert root_of(authority.bundle(), mine.current()[0])


async def test_clients_have_time_to_learn_of_a_new_root_before_they_are_shown_it(world, quick):
    authority = world.open()
    mine = OwnSvid(authority, GATE, (), world.clock)
    first = mine.current()
    async with running(mine):
        world.clock.at += 1790  # shortly before half of its life
        authority.rotate("root")
        world.clock.at += 800
        await asyncio.sleep(0.03)
        assert mine.current() == first
        world.clock.at += 150  # a quarter of its life after the rotation
        await until(lambda: mine.current() != first)
    assert mine.current()[0].chain != first[0].chain


async def test_the_authority_keeps_itself_in_rotation(world, monkeypatch):
    authority = world.open()
    monkeypatch.setattr("portcullis.identity.authority._LOOK_SECONDS", 0.005)
    task = asyncio.create_task(authority.run())
    sequence = authority.bundle().sequence
    try:
        world.clock.at += 16 * 86_400
        await until(lambda: authority.bundle().sequence > sequence)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
