"""Streams: open while their reader may read, and no longer."""

import asyncio

import pytest

from portcullis.control.console import streams as module
from portcullis.control.console.streams import Streams
from portcullis.core.principal import Principal, PrincipalKind

pytestmark = pytest.mark.anyio


class Feed:
    def __init__(self):
        self.cut = set()
        self.old = False
        self.changed = []

    def stale(self):
        return self.old

    def reason(self, principal, session):
        del session
        return "cut off" if principal.id in self.cut else None

    def subscribe(self, changed):
        self.changed.append(changed)

    def change(self):
        for one in self.changed:
            one()


class Clock:
    def now(self):
        return 1000.0

    def monotonic(self):
        return 0.0


class Source:
    """Pieces as they come; ``ended`` when nobody reads any more."""

    def __init__(self):
        self.pieces = asyncio.Queue()
        self.ended = False

    async def __aiter__(self):
        try:
            while (piece := await self.pieces.get()) is not None:
                yield piece
        finally:
            self.ended = True


def reader(name="ada", *, left=600.0):
    return Principal(kind=PrincipalKind.OPERATOR, id=name, credential=name, expires_at=1000 + left)


@pytest.fixture
def feed():
    return Feed()


@pytest.fixture
def streams(feed):
    return Streams(feed, Clock())


async def read(stream):
    return [piece async for piece in stream]


async def test_all_of_a_stream_arrives(streams):
    source = Source()
    for piece in (b"a", b"b", None):
        source.pieces.put_nowait(piece)
    assert await read(streams.guarded(reader(), source)) == [b"a", b"b"]
    assert source.ended


async def test_a_reader_who_is_cut_off_reads_no_further(streams, feed):
    sources = {name: Source() for name in ("ada", "mal")}
    reading = {
        name: asyncio.create_task(read(streams.guarded(reader(name), source)))
        for name, source in sources.items()
    }
    for source in sources.values():
        source.pieces.put_nowait(b"seen")
    await asyncio.sleep(0.01)
    feed.cut.add("mal")
    feed.change()
    assert await asyncio.wait_for(reading["mal"], 1) == [b"seen"]
    assert sources["mal"].ended
    sources["ada"].pieces.put_nowait(None)
    assert await asyncio.wait_for(reading["ada"], 1) == [b"seen"]


async def test_who_is_cut_off_already_reads_nothing(streams, feed):
    feed.cut.add("ada")
    source = Source()
    source.pieces.put_nowait(b"secret")
    assert await asyncio.wait_for(read(streams.guarded(reader(), source)), 1) == []


async def test_a_feed_that_may_have_missed_something_ends_every_stream(streams, feed):
    reading = asyncio.create_task(read(streams.guarded(reader(), Source())))
    await asyncio.sleep(0.01)
    feed.old = True
    feed.change()
    assert await asyncio.wait_for(reading, 1) == []


async def test_a_stream_ends_with_the_login(streams):
    assert await asyncio.wait_for(read(streams.guarded(reader(left=0.05), Source())), 1) == []


async def test_a_gate_that_stops_waits_for_no_reader(streams):
    reading = asyncio.create_task(read(streams.guarded(reader(), Source())))
    await asyncio.sleep(0.01)
    streams.close()
    assert await asyncio.wait_for(reading, 1) == []
    assert await asyncio.wait_for(read(streams.guarded(reader(), Source())), 1) == []


async def test_a_reader_who_has_left_is_noticed_in_a_quiet_stream(streams, monkeypatch):
    monkeypatch.setattr(module, "QUIET_SECONDS", 0.01)
    source = Source()
    stream = streams.guarded(reader(), source)
    assert await asyncio.wait_for(anext(stream), 1) == b": \n\n"
    await stream.aclose()
    assert source.ended


async def test_a_fault_of_the_source_is_not_hidden(streams):
    async def broken():
        yield b"a"
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await read(streams.guarded(reader(), broken()))
