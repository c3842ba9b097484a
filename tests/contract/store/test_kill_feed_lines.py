"""If these fail, whoever sits on the line between control plane and gateways can hide a kill.

The line is a real one, over the Unix socket and over Redis. What sits on it loses frames, swaps
them, says them twice and shows old ones again; beside it a control plane that ruled before, and one
that began at the same time, say what they know, which is nothing.
"""

import asyncio
import contextlib
import random
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest

from needs import needs_redis
from portcullis.core.feed import Heartbeat, Standing, epoch_of
from portcullis.store.fanout_redis import RedisHub, RedisLine
from portcullis.store.fanout_unix import UnixHub, UnixLine
from portcullis.store.killfeed_follower import Follower
from portcullis.store.killfeed_frames import Frames
from portcullis.store.killfeed_publisher import Publisher
from redis_servers import redis_server

pytestmark = pytest.mark.anyio
BEAT, LEASE, SILENCE = 0.03, 0.3, 0.4
FRAMES = Frames(b"k" * 32)
TERM = 5
CUTS = 40


class Clock:
    def now(self):
        return time.time()

    def monotonic(self):
        return time.monotonic()


class Sitting:
    """A hub with somebody on its line; as real as the hub that it stands before."""

    def __init__(self, hub):
        self.hub, self.did, self.on = hub, Counter(), True
        self._dice, self._old, self._held = random.Random(7), [], None

    async def open(self):
        await self.hub.open()

    async def run(self, heard):
        await self.hub.run(heard)

    def send(self, frame, to=""):
        what = self._dice.choice(("pass", "pass", "pass", "lose", "swap", "twice", "old", "other"))
        self.did[what] += self.on
        self._old.append((frame, to))
        match what if self.on else "pass":
            case "lose":
                return
            case "swap":  # it comes after the next one
                self._held, frame, to = (frame, to), *(self._held or (b"", ""))
            case "twice":
                self.hub.send(frame, to)
            case "old":
                self.hub.send(*self._dice.choice(self._old))
            case "other":
                self._others()
        if frame:
            self.hub.send(frame, to)

    def _others(self):
        """What publishers say that do not rule; they answer any question, too."""
        for epoch in (epoch_of(TERM - 1, "before"), epoch_of(TERM, "beside")):
            beat = Heartbeat(epoch, self._dice.randrange(CUTS), time.monotonic())
            self.hub.send(FRAMES.say(beat))


class Feed:
    """What a follower tells, and what it knows at any time."""

    def __init__(self):
        self.layer, self.counts = {}, Counter()

    def push(self, standings, *, whole=False):
        if whole:
            self.layer.clear()
        self.layer |= {one.key: one for one in standings}
        self.counts["whole" if whole else "changed"] += 1

    def pushed(self):
        return tuple(self.layer.values())

    def lease(self, fresh):
        self.fresh = fresh

    def lapsed(self):
        self.counts["fresh" if self.fresh() else "stale"] += 1


@pytest.fixture(scope="module")
def place():
    folder = Path(tempfile.mkdtemp(prefix="pc-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def server(place):
    with redis_server(place) as url:
        yield url


@pytest.fixture(params=["unix", pytest.param("redis", marks=needs_redis)])
def ends(request, tmp_path):
    """A function that makes hubs, and one that makes lines, to the same place."""
    if request.param == "unix":
        path = tmp_path / "f.sock"
        return (lambda: UnixHub(path)), (lambda name: UnixLine(path, name))
    url, prefix = request.getfixturevalue("server"), f"lines-{tmp_path.name}"
    return (
        lambda: RedisHub(url, prefix, silence=SILENCE),
        lambda name: RedisLine(url, prefix, name, silence=SILENCE),
    )


def publisher(hub, standing, term=TERM, **more):
    return Publisher(
        lambda: tuple(standing),
        *(hub, FRAMES, Clock()),
        lease_seconds=LEASE,
        heartbeat_seconds=BEAT,
        term=term,
        **more,
    )


def follower(line, feed):
    return Follower(
        *("gate-1", feed, line, FRAMES, Clock()), lease_seconds=LEASE, heartbeat_seconds=BEAT
    )


@contextlib.asynccontextmanager
async def running(*parts):
    tasks = [asyncio.ensure_future(part.run()) for part in parts]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(found, seconds=60):
    async with asyncio.timeout(seconds):
        while not found():  # noqa: ASYNC110 - other tasks make it so
            await asyncio.sleep(0.005)


async def test_no_mischief_on_the_line_hides_a_cut_for_longer_than_the_lease(ends):
    hub, line = ends
    sitting, feed, said = Sitting(hub()), Feed(), {}
    standing = []
    rules, gateway = publisher(sitting, standing), follower(line("gate-1"), feed)
    await sitting.open()
    served = 0

    def look():
        """A gateway that serves knows all that was said a lease ago."""
        nonlocal served
        if not gateway.fresh():
            return
        now, served = time.monotonic(), served + 1
        missing = [key for key, at in said.items() if now - at > LEASE and key not in feed.layer]
        assert missing == []

    async with running(rules, gateway):
        await until(feed.fresh)
        for number in range(CUTS):
            one = Standing("agent", f"shop-{number}", "leaked")
            standing.append(one)
            said[one.key] = time.monotonic()
            rules.publish([one])
            for _ in range(8):
                await asyncio.sleep(0.004)
                look()
        assert served > CUTS, "it served all the while"
        assert {"lose", "swap", "twice", "old", "other"} <= sitting.did.keys()
        assert feed.counts["whole"] > 3, "it asked again"
        sitting.on = False
        await until(lambda: gateway.fresh() and feed.layer.keys() == said.keys())


@pytest.mark.parametrize("ends", [pytest.param("redis", marks=needs_redis)], indirect=True)
async def test_of_two_who_publish_the_later_is_obeyed_and_the_other_hears_of_it(ends):
    """Over Redis both can: each answers whoever asks."""
    hub, line = ends
    feed, over = Feed(), asyncio.Event()
    killed, unknown = Standing("agent", "shop-1", "leaked"), Standing("agent", "shop-2", "odd")
    before = publisher(hub(), [unknown], term=TERM, outranked=over.set)
    gateway = follower(line("gate-1"), feed)
    async with running(before, gateway):
        await until(lambda: feed.layer == {unknown.key: unknown})
        async with running(publisher(hub(), [killed, unknown], term=TERM + 1)):
            await until(lambda: killed.key in feed.layer)
            await asyncio.wait_for(over.wait(), 60)
            for _ in range(40):  # both go on, and answer
                gateway._ask()
                await asyncio.sleep(0.01)
                assert killed.key in feed.layer
        await until(lambda: not feed.fresh())
        gateway._ask()
        await asyncio.sleep(5 * BEAT)
        assert not feed.fresh(), "who ruled before is not obeyed again"
