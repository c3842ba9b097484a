"""Publisher and followers together: if these fail, a kill does not reach every gateway."""

import asyncio
import contextlib
import time
from collections import Counter

import pytest

from portcullis.core.feed import Ask, Heartbeat, Snapshot, Standing, Swept, Update
from portcullis.store.fanout_local import LocalHub
from portcullis.store.killfeed_follower import Follower
from portcullis.store.killfeed_frames import Frames
from portcullis.store.killfeed_publisher import Own, Publisher

pytestmark = pytest.mark.anyio
KEY = b"k" * 32
BEAT, LEASE = 0.05, 0.2
KILLED = Standing("agent", "shop-1", "leaked")


class Clock:
    def now(self):
        return time.time()

    def monotonic(self):
        return time.monotonic()


class Feed:
    """What a follower tells."""

    def __init__(self):
        self.layer, self.counts, self.fresh = {}, Counter(), None
        self.swept = Swept()

    def push(self, standings, *, whole=False):
        if whole:
            self.layer.clear()
            self.counts["whole"] += 1
        for one in standings:
            self.layer[one.key] = one
            self.swept = Swept(self.swept.runs + 2, self.swept.connections + 3)
            if one.empty:
                del self.layer[one.key]

    def lease(self, fresh):
        self.fresh = fresh

    def lapsed(self):
        self.counts["fresh" if self.fresh() else "stale"] += 1


class Place:
    """A hub in this process, of which frames can be lost or looked at."""

    def __init__(self):
        self.hub, self.standing, self.sent = LocalHub(), [], []
        self.lose = False
        send = self.hub.send

        def sending(frame, to=""):
            self.sent.append(frame)
            if not self.lose:
                send(frame, to)

        self.hub.send = sending

    def publisher(self, own=None):
        return Publisher(
            lambda: tuple(self.standing),
            *(self.hub, Frames(KEY), Clock()),
            lease_seconds=LEASE,
            heartbeat_seconds=BEAT,
            own=own,
        )

    def follower(self, name, feed, key=KEY, *, binding=True):
        return Follower(
            *(name, feed, self.hub.line(name), Frames(key), Clock()),
            lease_seconds=LEASE,
            heartbeat_seconds=BEAT,
            swept=lambda: feed.swept,
            binding=binding,
        )


@contextlib.asynccontextmanager
async def running(*parts):
    tasks = [asyncio.ensure_future(part.run()) for part in parts]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(found, seconds=3):
    async with asyncio.timeout(seconds):
        while not found():  # noqa: ASYNC110 - other tasks make it so
            await asyncio.sleep(0.002)


async def test_a_kill_reaches_every_gateway_and_each_says_what_it_ended():
    place, feeds = Place(), (Feed(), Feed())
    publisher = place.publisher()
    followers = [place.follower(f"gate-{number}", feed) for number, feed in enumerate(feeds)]
    async with running(publisher, *followers):
        await until(lambda: all(one.fresh() for one in followers))
        publisher.publish([KILLED])
        told = await publisher.acknowledged(1)
        assert [(one.gateway, one.runs, one.connections) for one in told] == [
            ("gate-0", 2, 3),
            ("gate-1", 2, 3),
        ]
        assert all(0 <= one.own <= one.acknowledged < 500 for one in told)
        assert all(feed.layer == {KILLED.key: KILLED} for feed in feeds)
        publisher.publish([Standing("agent", "shop-1")])
        await publisher.acknowledged(1)
        assert all(feed.layer == {} for feed in feeds)
        assert publisher.gateways.keys() == {"gate-0", "gate-1"}
    assert all(feed.counts["stale"] <= 1 for feed in feeds)


async def test_who_comes_later_gets_all_that_stands_and_is_stale_before():
    place, feed = Place(), Feed()
    place.standing = [KILLED]
    follower = place.follower("late", feed)
    assert feed.fresh() is False
    async with running(follower):
        await asyncio.sleep(2 * BEAT)
        assert feed.fresh() is False
        async with running(place.publisher()):
            await until(feed.fresh)
            assert feed.layer == {KILLED.key: KILLED}


async def test_a_gateway_that_hears_nothing_is_stale_within_its_lease_and_sweeps_by_itself():
    place, feed = Place(), Feed()
    follower = place.follower("gate-1", feed)
    async with running(place.publisher(), follower):
        await until(feed.fresh)
        place.lose, lost = True, time.monotonic()
        await until(lambda: feed.counts["stale"])
        assert time.monotonic() - lost + BEAT >= LEASE - BEAT
        assert time.monotonic() - lost < LEASE + 0.25
        place.lose = False
        await until(feed.fresh)
        await until(lambda: feed.counts["fresh"] == 2)


async def test_a_lost_update_is_noticed_with_the_next_frame_and_made_good_by_a_snapshot():
    place, feed = Place(), Feed()
    publisher = place.publisher()
    async with running(publisher, place.follower("gate-1", feed)):
        await until(feed.fresh)
        place.lose = True
        publisher.publish([KILLED])
        place.standing, place.lose = [KILLED], False
        told = await publisher.acknowledged(1)
        assert [one.gateway for one in told if one.acknowledged is not None] == ["gate-1"]
        assert feed.layer == {KILLED.key: KILLED}
        assert feed.counts["whole"] == 2


async def test_a_forged_or_replayed_frame_is_refused():
    place, feed = Place(), Feed()
    publisher = place.publisher()
    async with running(publisher, place.follower("gate-1", feed)):
        await until(feed.fresh)
        publisher.publish([KILLED])
        await publisher.acknowledged(1)
        (killed,) = [one for one in place.sent if isinstance(Frames(KEY).said(one), Update)]
        publisher.publish([Standing("agent", "shop-1")])
        await publisher.acknowledged(1)
        epoch = Frames(KEY).said(killed).epoch
        for frame in (killed, Frames(b"x" * 32).say(Update(epoch, 3, 1e12, (KILLED,)))):
            place.hub.send(frame)
        await asyncio.sleep(0.02)
        assert feed.layer == {}
        assert feed.fresh()


async def test_who_does_not_answer_is_named_and_refuses_everything_by_then():
    place, feed, other = Place(), Feed(), Feed()
    publisher = place.publisher()
    async with running(publisher, place.follower("gate-1", feed)):
        async with running(place.follower("gate-2", other)) as (task,):
            await until(lambda: feed.fresh() and other.fresh())
            await until(lambda: len(publisher.gateways) == 2)
            place.hub._lines.pop("gate-2")  # it is cut off from the hub, and lives
            publisher.publish([KILLED])
            one, two = await publisher.acknowledged(LEASE)
            assert (one.gateway, two.gateway, two.acknowledged) == ("gate-1", "gate-2", None)
            assert one.acknowledged is not None
            assert 0 <= two.within <= LEASE
            await asyncio.sleep(two.within)
            assert not other.fresh()
            assert not task.done()
        await until(lambda: len(publisher.gateways) == 1)  # who leaves in good order is not missed


async def test_a_new_publisher_takes_over_without_a_gap():
    place, feed = Place(), Feed()
    async with running(place.follower("gate-1", feed)):
        async with running(place.publisher()):
            await until(feed.fresh)
        place.standing = [KILLED]
        async with running(place.publisher()):
            await until(lambda: feed.layer)
            assert feed.fresh()
            assert feed.counts["stale"] == 0


async def test_the_gateway_in_the_publishers_own_process_answers_as_well():
    swept = [Swept()]
    place = Place()
    publisher = place.publisher(Own("gate", lambda: swept[0]))
    publisher.publish([KILLED])
    swept[0] = Swept(4, 5)
    (told,) = await publisher.acknowledged(1)
    assert (told.gateway, told.runs, told.connections) == ("gate", 4, 5)
    assert told.acknowledged is not None


async def test_a_wrapper_acts_on_what_is_said_and_depends_on_nothing():
    place, feed = Place(), Feed()
    publisher = place.publisher()
    async with running(publisher, place.follower("mcp-crm", feed, binding=False)):
        await until(lambda: feed.counts["whole"])
        publisher.publish([KILLED])
        await until(lambda: feed.layer)
    assert feed.fresh is None


async def test_heartbeats_go_on_while_nothing_happens():
    place = Place()
    async with running(place.publisher()):
        await asyncio.sleep(5 * BEAT)
    beats = [Frames(KEY).said(one) for one in place.sent]
    assert len(beats) >= 3
    assert all(isinstance(one, Heartbeat) for one in beats)
    assert [one.at for one in beats] == sorted({one.at for one in beats})


async def test_what_a_gateway_said_once_is_not_believed_again():
    """Whoever sits between has no key, but may show what he saw."""
    place, feed = Place(), Feed()
    frames, heard = Frames(KEY), []
    publisher = place.publisher()
    async with running(publisher):
        await until(lambda: place.hub._heard)
        hear = place.hub._heard
        place.hub._heard = lambda frame: (heard.append(frame), hear(frame))
        async with running(place.follower("gate-1", feed)):
            await until(lambda: publisher.gateways)
        await until(lambda: not publisher.gateways)
        assert any(getattr(frames.answered(frame), "leaving", False) for frame in heard)
        old = tuple(heard)
        async with running(place.follower("gate-1", feed)):
            await until(lambda: publisher.gateways.get("gate-1", 1) < BEAT)
            await asyncio.sleep(2 * BEAT)
            for frame in old:
                hear(frame)
            assert set(publisher.gateways) == {"gate-1"}
        await until(lambda: not publisher.gateways)
        await asyncio.sleep(LEASE)
        for frame in old:
            hear(frame)
        assert not publisher.gateways  # nor is one awaited that is gone


async def test_of_questions_that_waited_the_last_of_each_gateway_is_answered():
    place = Place()
    publisher = place.publisher()
    frames = Frames(KEY)
    async with running(publisher):
        await until(lambda: place.hub._heard)
        place.sent.clear()
        for number in range(40):
            place.hub._heard(frames.answer(Ask(f"gate-{number % 2}", bytes([number]))))
        await asyncio.sleep(0)
        said = [frames.said(frame) for frame in place.sent]
        answers = [one for one in said if isinstance(one, Snapshot)]
        assert [(one.to, one.nonce) for one in answers] == [
            ("gate-0", bytes([38])),
            ("gate-1", bytes([39])),
        ]
