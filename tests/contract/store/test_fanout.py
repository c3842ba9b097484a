"""If these fail, a gateway does not hear who is cut off, or hears it from somebody else."""

import asyncio
import contextlib
import os
import shutil
import stat
import tempfile
from pathlib import Path

import pytest

from needs import needs_redis
from portcullis.core.errors import Problem
from portcullis.store.fanout_local import LocalHub
from portcullis.store.fanout_redis import RedisHub, RedisLine
from portcullis.store.fanout_unix import UnixHub, UnixLine
from redis_servers import redis_server

pytestmark = pytest.mark.anyio
SILENCE = 0.4


@pytest.fixture(scope="module")
def place():
    """A short path: a socket lies there."""
    folder = Path(tempfile.mkdtemp(prefix="pc-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def server(place):
    with redis_server(place) as url:
        yield url


class Deployment:
    """A hub and lines of one kind."""

    def __init__(self, hub, line):
        self.hub, self.line = hub, line
        self.said = []


@pytest.fixture(params=["local", "unix", pytest.param("redis", marks=needs_redis)])
async def fanout(request, tmp_path):
    match request.param:
        case "local":
            hub = LocalHub()
            line = hub.line
        case "unix":
            path = tmp_path / "f.sock"
            hub = UnixHub(path)
            line = lambda name: UnixLine(path, name)  # noqa: E731
        case _:
            url = request.getfixturevalue("server")
            prefix = f"test-{os.getpid()}-{id(request)}"
            hub = RedisHub(url, prefix, silence=SILENCE)
            line = lambda name: RedisLine(url, prefix, name, silence=SILENCE)  # noqa: E731
    deployment = Deployment(hub, line)
    await hub.open()
    async with running(hub.run(deployment.said.append)):
        yield deployment


@contextlib.asynccontextmanager
async def running(work):
    task = asyncio.ensure_future(work)
    try:
        await asyncio.sleep(0)
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@contextlib.asynccontextmanager
async def following(fanout, name):
    heard, joined = [], asyncio.Event()
    line = fanout.line(name)
    line.heard_by_test = heard
    async with running(line.run(heard.append, joined.set)):
        await asyncio.wait_for(joined.wait(), 5)
        async with asyncio.timeout(5):
            while not any(one == b"here:" + name.encode() for one in fanout.said):
                line.send(b"here:" + name.encode())
                await asyncio.sleep(0.01)
        yield line, heard


async def until(found, seconds=5):
    async with asyncio.timeout(seconds):
        while not found():  # noqa: ASYNC110 - other tasks make it so
            await asyncio.sleep(0.005)


async def test_each_follower_hears_everything_in_order(fanout):
    async with following(fanout, "one") as (_, one), following(fanout, "two") as (_, two):
        frames = [f"{number}".encode() for number in range(200)]
        for frame in frames:
            fanout.hub.send(frame)
        await until(lambda: len(one) >= 200 and len(two) >= 200)
        assert one == two == frames


async def test_what_is_for_one_is_for_nobody_else(fanout):
    async with following(fanout, "one") as (_, one), following(fanout, "two") as (_, two):
        fanout.hub.send(b"for two", "two")
        fanout.hub.send(b"for all")
        await until(lambda: one and len(two) == 2)
        assert (one, two) == ([b"for all"], [b"for two", b"for all"])


async def test_the_publisher_hears_followers(fanout):
    async with following(fanout, "one") as (line, _):
        line.send(b"acted")
        await until(lambda: b"acted" in fanout.said)


async def test_a_large_frame_arrives_whole(fanout):
    frame = os.urandom(2**20)
    async with following(fanout, "one") as (_, heard):
        fanout.hub.send(frame)
        await until(lambda: heard)
        assert heard == [frame]


async def test_sending_waits_for_nobody_and_fails_for_nobody(fanout):
    fanout.hub.send(b"nobody is there")
    fanout.hub.send(b"nor one of this name", "nobody")
    async with following(fanout, "one") as (line, heard):
        assert heard == []
        left = line
    left.send(b"nobody hears it")


async def test_only_the_same_user_gets_at_the_socket_and_a_second_publisher_nothing(tmp_path):
    path = tmp_path / "f.sock"
    hub = UnixHub(path)
    await hub.open()
    assert stat.S_IMODE(path.lstat().st_mode) == 0o600
    with pytest.raises(Problem, match="PC4005"):
        await UnixHub(path).open()
    async with running(hub.run(lambda _: None)):
        pass
    assert not path.exists()


async def test_a_socket_that_nobody_listens_at_is_replaced_and_a_file_is_not(tmp_path):
    path = tmp_path / ("d" * 100) / "f.sock"  # longer than a socket's path may be
    path.parent.mkdir()
    first = UnixHub(path)
    await first.open()
    first._server.close()
    again = UnixHub(path)
    await again.open()
    again._server.close()
    path.unlink()
    path.write_text("something else")
    with pytest.raises(Problem, match="PC4005"):
        await UnixHub(path).open()


async def test_a_follower_that_does_not_read_is_dropped(tmp_path, monkeypatch):
    monkeypatch.setattr("portcullis.store.fanout_unix.MAX_WAITING", 2**16)
    path = tmp_path / "f.sock"
    hub, said = UnixHub(path), []
    await hub.open()
    async with running(hub.run(said.append)):
        reader, writer = await asyncio.open_unix_connection(path, limit=1024)
        writer.write(b"\0\0\0\4slow")
        await until(lambda: "slow" in hub._members)
        for _ in range(200):
            hub.send(b"x" * 16384)
        assert "slow" not in hub._members or hub._members["slow"].transport.is_closing()
        writer.close()
        del reader


async def test_a_line_joins_again_when_the_hub_is_back(tmp_path):
    path = tmp_path / "f.sock"
    line, heard, joined = UnixLine(path, "one"), [], []
    async with running(line.run(heard.append, lambda: joined.append(True))):
        for times in (1, 2):
            hub = UnixHub(path)
            await hub.open()
            async with running(hub.run(lambda _: None)):
                await until(lambda times=times, hub=hub: len(joined) == times and hub._members)
                hub.send(b"here")
                await until(lambda times=times: len(heard) == times)


@needs_redis
async def test_a_line_joins_again_when_the_server_is_back(place):
    joined, heard = [], []
    folder = place / "again"
    folder.mkdir()
    with redis_server(folder) as url:
        line = RedisLine(url, "again", "one", silence=SILENCE)
        task = asyncio.ensure_future(line.run(heard.append, lambda: joined.append(True)))
        await until(lambda: joined)
    await asyncio.sleep(0.1)
    (folder / "redis.sock").unlink(missing_ok=True)
    with redis_server(folder):
        await until(lambda: len(joined) >= 2)
        hub = RedisHub(url, "again", silence=SILENCE)
        async with running(hub.run(lambda _: None)):
            async with asyncio.timeout(5):
                while not heard:
                    hub.send(b"back")
                    await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_both_ends_end_at_once_while_frames_come_and_go(fanout):
    line = fanout.line("one")
    task = asyncio.ensure_future(line.run(lambda _: line.send(b"heard"), lambda: None))
    for _ in range(50):
        fanout.hub.send(b"frame")
        line.send(b"said")
        await asyncio.sleep(0.002)
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=1)
    assert done == {task}
