"""The bridge, run outside of a box. If these fail, an agent has no gate, or its end is not seen."""

import asyncio
import contextlib
import signal
import socket
import sys

import pytest

from portcullis.execution.launch import bridge
from ports import free_port

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def bridged(folder, *command):
    """The bridge with a forward to an echo and a control connection; its port, and both."""
    held = []

    async def echo(reader, writer):
        held.append(writer)
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write(b"over")
        writer.write_eof()

    control = socket.socket(socket.AF_UNIX)
    control.bind(str(folder / "control"))
    control.listen(1)
    control.settimeout(0)
    port = free_port()
    server = await asyncio.start_unix_server(echo, str(folder / "echo"))
    with (folder / "out").open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", bridge.__file__, "--forward", f"{port}={folder}/echo"),
            *("--control", str(folder / "control"), "--", *command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=asyncio.subprocess.STDOUT,
        )
    try:
        async with asyncio.timeout(20):
            accepted, _ = await asyncio.get_running_loop().sock_accept(control)
            reader, writer = await asyncio.open_connection(sock=accepted)
            assert await reader.readline() == bridge.READY
            writer.write(bridge.GO)
        yield process, port, writer
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        server.close()
        control.close()
        for one in held:
            one.transport.abort()


async def ended(process):
    async with asyncio.timeout(20):
        return await process.wait()


async def test_bytes_pass_both_ways_and_each_side_may_end_first(tmp_path):
    async with bridged(tmp_path, "sleep", "3") as (_, port, _), asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"x" * 300_000)
        writer.write_eof()
        assert await reader.read(-1) == b"x" * 300_000 + b"over"
        writer.close()


async def test_there_is_room_for_so_many_and_no_more(tmp_path):
    async with bridged(tmp_path, "sleep", "3") as (_, port, _), asyncio.timeout(20):
        held = []
        for _ in range(bridge.MOST):
            held.append(await asyncio.open_connection("127.0.0.1", port))
            held[-1][1].write(b"a")
            assert await held[-1][0].read(1) == b"a"
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read(1) == b""
        for _, one in [*held, (reader, writer)]:
            one.transport.abort()


@pytest.mark.parametrize(
    ("command", "code"),
    [("exit 3", 3), ("kill -KILL $$", 137), ("sleep 3 & exit 0", 0)],
    ids=["exit", "killed", "orphan"],
)
async def test_the_code_is_the_commands(tmp_path, command, code):
    async with bridged(tmp_path, "/bin/sh", "-c", command) as (process, _, _):
        assert await ended(process) == code


async def test_what_cannot_be_run_is_said(tmp_path):
    async with bridged(tmp_path, str(tmp_path)) as (process, _, _):
        assert await ended(process) == bridge.NOT_RUN
    assert "Permission denied" in (tmp_path / "out").read_text()


async def test_a_signal_reaches_the_whole_group(tmp_path):
    script = "trap 'echo got; exit 4' TERM; echo up; sleep 3 & wait"
    async with bridged(tmp_path, "/bin/sh", "-c", script) as (process, _, control):
        while "up" not in (tmp_path / "out").read_text():  # noqa: ASYNC110 - a file has no event
            await asyncio.sleep(0.02)
        control.write(b"%d\n" % signal.SIGTERM)
        assert await ended(process) == 4
    assert "got" in (tmp_path / "out").read_text()


async def test_it_ends_with_the_launchers_connection(tmp_path):
    async with bridged(tmp_path, "sleep", "3") as (process, _, control):
        control.close()
        assert await ended(process) == 137


async def test_a_question_that_nobody_answers_is_answered_at_once_that_it_failed():
    question = b"\x12\x34\x01\x00\x00\x01" + bytes(6) + b"\x01a\x00\x00\x01\x00\x01"
    loop = asyncio.get_running_loop()
    asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    asking.bind(("127.0.0.1", 0))
    asking.settimeout(0)
    served, _ = await loop.create_datagram_endpoint(
        lambda: bridge._Questions("/nothing/there"), local_addr=("127.0.0.1", 0)
    )
    try:
        await loop.sock_sendto(asking, b"no", served.get_extra_info("sockname"))
        await loop.sock_sendto(asking, question, served.get_extra_info("sockname"))
        async with asyncio.timeout(20):
            answer = await loop.sock_recv(asking, 512)
    finally:
        served.close()
        asking.close()
    assert answer == question[:2] + b"\x81\x82" + question[4:]


def test_what_is_said_to_the_agent_waits_for_no_acknowledgement():
    """Else each answer in two pieces, and each event of a stream, comes 40 ms late."""
    with bridge._listening(0) as listening, socket.socket() as client:
        client.connect(listening.getsockname())
        with listening.accept()[0] as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
