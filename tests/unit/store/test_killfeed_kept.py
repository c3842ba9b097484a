"""If these fail, a gateway that starts again serves too long, or whoever was cut off meanwhile."""

import asyncio
import math
import stat
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from msgspec import structs

from portcullis.core import formats
from portcullis.core.feed import Heartbeat, LastSnapshot, Snapshot, Standing, Update, epoch_of
from portcullis.store.killfeed_follower import Follower
from portcullis.store.killfeed_frames import Frames
from portcullis.store.killfeed_kept import KeptSnapshot, booted

pytestmark = pytest.mark.anyio
FRAMES = Frames(b"k" * 32)
KILLED = Standing("agent", "shop-1", "leaked")
LATER = Standing("agent", "shop-2", "odd")
EPOCH = epoch_of(3, "ab")
LEASE = 60.0


class Clock:
    """By which nobody can lengthen anything: the time of day is not asked for."""

    def __init__(self):
        self.time = 1000.0

    def monotonic(self):
        return self.time


class Feed:
    def __init__(self):
        self.layer, self.counts = {}, Counter()

    def push(self, standings, *, whole=False):
        if whole:
            self.layer.clear()
        self.layer |= {one.key: one for one in standings}

    def pushed(self):
        return tuple(self.layer.values())

    def lease(self, fresh):
        self.fresh = fresh

    def lapsed(self):
        self.counts["lapsed"] += 1


class Line:
    """What a gateway says, and what it is told."""

    def __init__(self):
        self.said = []

    def send(self, frame):
        self.said.append(FRAMES.answered(frame))

    async def run(self, heard, joined):
        self.heard = lambda frame: heard(FRAMES.say(frame))
        joined()
        await asyncio.Future()

    def acknowledged(self):
        return [one.sequence for one in self.said if type(one).__name__ == "Acknowledgement"]


class House:
    """A gateway that is started again and again at one place; the publisher's clock is at 50."""

    def __init__(self, folder):
        self.path = folder / "gate-1.feed"
        self.clock, self.refused = Clock(), []
        self.task = self.kept = self.order = None

    def keeps(self, name="gate-1", boot="boot-1", lease=LEASE, frames=FRAMES):
        return KeptSnapshot(
            *(self.path, frames, self.clock),
            gateway=name,
            boot=boot,
            lease_seconds=lease,
            say=lambda code, why: self.refused.append((code, why)),
        )

    async def start(self, **more):
        await self.stop()
        self.feed, self.line, self.kept = Feed(), Line(), self.keeps(**more)
        self.follower = Follower(
            *("gate-1", self.feed, self.line, FRAMES, self.clock),
            lease_seconds=more.get("lease", LEASE),
            heartbeat_seconds=0.02,
            kept=self.kept,
            ordered=lambda: self.order,
        )
        self.task = asyncio.ensure_future(self.follower.run())
        while not hasattr(self.line, "heard"):  # noqa: ASYNC110 - the task does it
            await asyncio.sleep(0)

    async def stop(self):
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)

    async def told(self, *standings, sequence=1):
        """The answer to its question: all that stands."""
        asked = next(one for one in reversed(self.line.said) if type(one).__name__ == "Ask")
        self.line.heard(Snapshot(EPOCH, sequence, 50.0, "gate-1", asked.nonce, standings))

    def put(self, content):
        """Put a file there, as the gateway's own user would."""
        self.path.write_bytes(content)
        self.path.chmod(0o600)

    async def written(self):
        async with asyncio.timeout(30):
            while not self.path.exists():  # noqa: ASYNC110 - a thread does it
                await asyncio.sleep(0.005)


@pytest.fixture
async def house(tmp_path):
    made = House(tmp_path)
    await made.start()
    await made.told(KILLED)
    await made.written()
    yield made
    await made.stop()


async def test_it_goes_on_from_what_it_knew_until_its_lease_is_over_and_no_longer(house):
    assert stat.S_IMODE(house.path.stat().st_mode) == 0o600
    house.clock.time += 30.0
    await house.start()
    assert house.feed.fresh()
    assert house.feed.layer == {KILLED.key: KILLED}
    house.clock.time += 29.9
    assert house.feed.fresh()
    house.clock.time += 0.1
    assert not house.feed.fresh()
    await house.start()
    assert not house.feed.fresh()
    assert house.refused == []


async def test_what_is_said_meanwhile_counts_as_if_it_had_been_there_all_the_time(house):
    await house.start()
    house.line.heard(Update(EPOCH, 2, 51.0, (LATER,)))
    assert house.feed.layer.keys() == {KILLED.key, LATER.key}
    await house.start()
    house.line.heard(Heartbeat(EPOCH, 5, 52.0))
    assert not house.feed.fresh(), "updates are missing"


async def test_publishers_that_ruled_before_are_not_obeyed_after_a_start_either(house):
    await house.start()
    house.line.heard(Update(epoch_of(2, "cd"), 9, 99.0, (Standing("agent", "shop-1"),)))
    await house.told(sequence=0)
    assert house.feed.layer == {KILLED.key: KILLED}


async def test_what_it_says_that_it_acts_on_is_never_lacking_on_disk(house, monkeypatch):
    there, send = {}, house.line.send

    def sending(frame):
        said = FRAMES.answered(frame)
        if type(said).__name__ == "Acknowledgement":
            there[said.sequence] = house.path.exists()
        send(frame)

    monkeypatch.setattr(house.line, "send", sending)
    monkeypatch.setattr(house.kept, "keep", lambda *_: None)
    house.clock.time += 1.0
    house.line.heard(Update(EPOCH, 2, 51.0, (LATER,)))
    async with asyncio.timeout(30):
        while 2 not in house.line.acknowledged():  # noqa: ASYNC110 - it says so later
            await asyncio.sleep(0)
    assert there == {2: False}
    monkeypatch.undo()
    await house.written()
    await house.start()
    assert house.feed.layer.keys() == {KILLED.key, LATER.key}


async def test_what_cannot_be_taken_away_is_not_acknowledged(house, monkeypatch):
    def refuse():
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(house.kept, "_unlink", refuse)
    house.line.heard(Update(EPOCH, 2, 51.0, (LATER,)))
    assert LATER.key in house.feed.layer
    await asyncio.sleep(0.1)
    assert house.line.acknowledged() == [1]


async def test_what_is_written_late_does_not_come_back(house):
    """A slow disk: the file of before is still being written when the cut has come."""
    house.kept._thread.shutdown()
    house.kept._thread = ThreadPoolExecutor(1)
    go = Event()
    house.kept._thread.submit(go.wait, 30)
    house.kept._again = 0.0
    house.kept.keep(1000.0, EPOCH, 1, 50.0, lambda: (KILLED,))
    forgetting = asyncio.ensure_future(house.kept.forget())
    await asyncio.sleep(0)
    house.kept._again = math.inf  # it is not kept anew, as it soon would be
    go.set()
    await asyncio.wait_for(forgetting, 30)
    assert not house.path.exists()


async def test_a_disk_that_is_full_keeps_nothing_and_stops_nothing(house, tmp_path):
    house.path.unlink()
    house.path.with_name("gate-1.feed.new").mkdir()  # cannot be written
    house.clock.time += LEASE / 2
    house.line.heard(Heartbeat(EPOCH, 1, 80.0))
    await asyncio.sleep(0.1)
    assert not house.path.exists()
    assert house.feed.fresh()
    house.path.with_name("gate-1.feed.new").rmdir()


async def test_an_order_to_kill_everybody_acts_while_nobody_is_there_to_publish_it(house):
    """Not while somebody is: he knows whether it was taken back."""
    everybody = ("all", "*")
    house.order = "fire"
    house.line.heard(Heartbeat(EPOCH, 1, 50.5))
    await asyncio.sleep(0.1)
    assert everybody not in house.feed.layer
    house.clock.time += 2.0
    async with asyncio.timeout(30):
        while everybody not in house.feed.layer:  # noqa: ASYNC110 - the task does it
            await asyncio.sleep(0.005)
    assert house.feed.layer[everybody].reason == "fire"
    house.clock.time += 20.0
    house.follower._ask()
    await house.told(KILLED, sequence=2)
    assert everybody not in house.feed.layer
    await asyncio.sleep(0.1)
    assert everybody not in house.feed.layer


def flipped(content):
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (flipped, "changed"),
        (lambda content: content[:-7], "changed"),
        (lambda _: b"", "changed"),
        (lambda content: FRAMES.say(Heartbeat(EPOCH, 1, 5.0)) + content[:0], "changed"),
    ],
    ids=["a bit", "cut short", "nothing", "a frame of the line"],
)
async def test_a_file_that_was_changed_is_refused_and_said(house, changed, said):
    await house.stop()
    house.put(changed(house.path.read_bytes()))
    await house.start()
    assert not house.feed.fresh()
    assert [code for code, why in house.refused if said in why] == ["PC4007"]
    assert not house.path.exists()


async def test_what_is_not_of_this_gateway_machine_deployment_or_time_is_refused(house):
    await house.stop()
    content = house.path.read_bytes()
    kept = FRAMES.kept(content)
    others = {
        "deployment": Frames(b"x" * 32).keep(kept),
        "gateway": FRAMES.keep(structs.replace(kept, gateway="gate-2")),
        "future": FRAMES.keep(structs.replace(kept, heard=1000.1)),
        "format": FRAMES.keep(structs.replace(kept, format=formats.FORMAT + 2)),
    }
    for what, other in others.items():
        house.put(other)
        assert house.keeps().load() is None, what
    assert [code for code, _ in house.refused] == ["PC4007"] * 3 + ["PC7087"]
    house.put(content)
    assert house.keeps(boot="boot-2").load() is None, "the machine was started again"
    house.put(content)
    house.path.chmod(0o644)
    assert house.keeps().load() is None
    house.put(content)
    assert house.keeps().load() == kept


async def test_no_lease_is_lengthened_by_another_configuration(house):
    await house.stop()
    content = house.path.read_bytes()
    house.clock.time += 30.0
    for lease, left in ((3600.0, 30.0), (40.0, 10.0)):
        house.put(content)
        found = house.keeps(lease=lease).load()
        assert found.heard + lease - house.clock.time == pytest.approx(left)
    house.put(content)
    assert house.keeps(lease=20.0).load() is None


def test_a_boot_has_a_name_of_its_own_and_keeps_it():
    assert booted() == booted()
    assert isinstance(LastSnapshot("g", booted(), 1.0, 2.0, EPOCH, 1, 1.0, ()).boot, str)
