"""If these fail, two control planes rule one deployment, or none does after a server came back."""

import asyncio
import contextlib
import time
from types import SimpleNamespace

import pytest
from sqlalchemy import make_url

from databases import new_database
from portcullis.bootstrap.feed import publishing
from portcullis.config import Feed
from portcullis.core.errors import Problem
from portcullis.core.feed import Present, Standing, epoch_of, term_of
from portcullis.store.dialect import asking, kept
from portcullis.store.engine import open_store
from portcullis.store.fanout_unix import UnixLine
from portcullis.store.killfeed_frames import Frames
from portcullis.store.ruling import Hold, only
from postgres_servers import needs_postgresql

KEY = b"k" * 32
KILLED = Standing("agent", "shop-1", "leaked")


@pytest.fixture
def url(postgres):
    with postgres.new() as made:
        yield made


@pytest.fixture
def opened():
    engines = []

    def open_another(place):
        engines.append(open_store(place))
        return engines[-1]

    yield open_another
    for engine in engines:
        engine.dispose()


def away(postgres, url):
    """End all connections, as a server that was started again has."""
    postgres.end_connections(make_url(url).database)


def test_each_who_rules_has_a_later_term_than_all_before(tmp_path):
    engine = new_database(tmp_path / "portcullis.db")
    terms = []
    for _ in range(3):
        with only(engine, "control") as rule:
            terms.append(rule.begin())
            assert rule.look() is Hold.HELD
        with only(engine, "control"):
            pass  # a command that publishes nothing
    assert terms == [1, 2, 3]
    assert sorted(epoch_of(term, "x") for term in (255, 16, 2)) == [
        epoch_of(term, "x") for term in (2, 16, 255)
    ]
    assert (term_of(epoch_of(300, "ab")), term_of("6f1e")) == (300, 0)


@needs_postgresql
def test_a_lock_that_went_with_its_connection_is_taken_again(postgres, url, opened):
    with only(opened(url), "control") as rule:
        assert rule.begin() == 1
        away(postgres, url)
        assert [rule.look(), rule.look()] == [Hold.UNKNOWN, Hold.HELD]
        with pytest.raises(Problem, match="PC6003"), only(opened(url), "control"):
            pass
    with only(opened(url), "control") as rule:
        assert rule.begin() == 2


@needs_postgresql
def test_records_that_went_back_are_ruled_no_more(postgres, url, opened, tmp_path):
    marked, database = tmp_path / "records.mark", make_url(url).database
    with only(opened(url), "control", marked) as rule:
        rule.begin()
        assert rule.look() is Hold.HELD
        postgres.sql("UPDATE versions SET value = value - 60 WHERE name = 'mark'", database)
        away(postgres, url)  # as a server that was put back to a minute ago
        assert [rule.look(), rule.look()] == [Hold.UNKNOWN, Hold.LOST]
    with only(opened(url), "control", marked) as rule, pytest.raises(Problem, match="PC6036"):
        rule.begin()
    marked.unlink()  # another folder, which knows nothing
    with only(opened(url), "control", marked) as rule:
        assert rule.begin() == 2


@needs_postgresql
def test_who_finds_that_another_ruled_meanwhile_rules_no_more(postgres, url, opened):
    with only(opened(url), "control") as rule:
        rule.begin()
        away(postgres, url)
        with only(opened(url), "control") as other:
            assert other.begin() == 2
            assert [rule.look(), rule.look()] == [Hold.UNKNOWN, Hold.LOST]
        assert rule.look() is Hold.LOST, "also when that one is gone"
        with only(opened(url), "control") as third:
            assert third.look() is Hold.HELD, "who lost it does not keep others out"


@needs_postgresql
def test_a_lock_that_somebody_has_who_has_not_begun_takes_nothing_away(postgres, url, opened):
    with only(opened(url), "control") as rule:
        away(postgres, url)
        with asking(opened(url)).connect() as ghost:
            assert kept(ghost, "control")
            assert [rule.look(), rule.look()] == [Hold.UNKNOWN, Hold.UNKNOWN]
            ghost.invalidate()
        while (found := rule.look()) is Hold.UNKNOWN:
            time.sleep(0.01)
        assert found is Hold.HELD


@needs_postgresql
def test_a_server_that_had_not_heard_of_the_rule_hears_of_it(postgres, url, opened):
    with only(opened(url), "control") as rule:
        rule.begin()
        postgres.sql("DELETE FROM versions WHERE name = 'ruling'", make_url(url).database)
        away(postgres, url)
        assert [rule.look(), rule.look()] == [Hold.UNKNOWN, Hold.HELD]
    with only(opened(url), "control") as other:
        assert other.begin() == 2


class Feed_:  # noqa: N801 - the configuration has the name
    """What a publisher publishes."""

    def __init__(self):
        self.fresh, self.relayed = None, []

    def standings(self):
        return (KILLED,)

    def relay(self, relay):
        self.relayed.append(relay)

    def lease(self, fresh):
        self.fresh = fresh


class Clock:
    def now(self):
        return time.time()

    def monotonic(self):
        return time.monotonic()


class Control:
    """A control plane, as far as it publishes."""

    def __init__(self, folder, rule):
        self.feed = Feed_()
        self.config = SimpleNamespace(feed=Feed(), state=folder, trust_domain="a.test")
        self.services = SimpleNamespace(
            feed=self.feed, rule=rule, feed_key=KEY, clock=Clock(), gateway="a.test/control"
        )

    async def run(self):
        async with publishing(self.config, self.services):
            await asyncio.sleep(60)


@contextlib.asynccontextmanager
async def ruling(control):
    task = asyncio.ensure_future(control.run())
    try:
        async with asyncio.timeout(30):
            while not control.feed.relayed:  # noqa: ASYNC110 - the other task does it
                await asyncio.sleep(0.005)
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.anyio
@needs_postgresql
async def test_a_control_plane_ends_and_lets_nothing_pass_once_another_rules(
    tmp_path, postgres, url, opened
):
    with only(opened(url), "control") as rule:
        async with ruling(control := Control(tmp_path, rule)) as task:
            away(postgres, url)
            with only(opened(url), "control") as other:
                other.begin()
                with pytest.raises(Problem, match="PC4005"):
                    await asyncio.wait_for(task, 30)
                assert control.feed.relayed[-1] is None
                assert control.feed.fresh() is False
                assert not (tmp_path / "feed.sock").exists()


@pytest.mark.anyio
async def test_a_control_plane_hears_from_a_gateway_that_another_rules(tmp_path):
    """It has no database, and is told all the same."""
    rule = SimpleNamespace(begin=lambda: 7, keep=asyncio.Event().wait)
    frames = Frames(KEY)
    async with ruling(control := Control(tmp_path, rule)) as task:
        line = UnixLine(tmp_path / "feed.sock", "gate-1")

        def say(term):
            line.send(frames.answer(Present("gate-1", epoch_of(term, "ab"), 0, 1.0)))

        joined = asyncio.Event()
        following = asyncio.ensure_future(line.run(lambda _: None, joined.set))
        try:
            await asyncio.wait_for(joined.wait(), 30)
            say(6)
            await asyncio.sleep(0.1)
            assert not task.done(), "of one that ruled before it is nothing to hear"
            say(8)
            with pytest.raises(Problem, match="PC4005"):
                await asyncio.wait_for(task, 30)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
    assert control.feed.fresh() is False


@pytest.mark.anyio
async def test_who_is_ended_from_outside_is_just_ended(tmp_path):
    rule = SimpleNamespace(begin=lambda: 7, keep=asyncio.Event().wait)
    async with ruling(Control(tmp_path, rule)) as task:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 30)
