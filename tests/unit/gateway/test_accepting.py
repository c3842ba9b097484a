"""If these fail, clients that were about to connect are reset when a gateway ends."""

import asyncio
import contextlib
import socket

import pytest

from portcullis.gateway.accepting import BACKLOG, begin_none, hold_off, queued
from portcullis.gateway.listener import bound

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


def listening(address="127.0.0.1:0"):
    made = bound(address, shared=True)
    made.listen(16)
    return made


async def test_who_begins_to_connect_meanwhile_gets_to_whoever_has_the_address_then():
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(listening())
        address = first.getsockname()
        with socket.create_connection(address) as early:
            begin_none(first)
            late = asyncio.ensure_future(asyncio.open_connection(*address))
            assert not (await asyncio.wait({late}, timeout=0.2))[0], "its first segment is dropped"
            [(accepted, source)] = list(queued(first))
            with accepted:
                early.sendall(b"still here")
                assert accepted.recv(100) == b"still here"
                assert source == "{}:{}".format(*early.getsockname())
        second = stack.enter_context(listening(f"127.0.0.1:{address[1]}"))
        first.close()
        _, writer = await asyncio.wait_for(late, 30)
        [(accepted, source)] = list(queued(second))
        with accepted:
            assert source == "{}:{}".format(*writer.get_extra_info("sockname"))
        writer.close()


async def test_on_loopback_nobody_is_kept_waiting():
    with listening() as first:
        await hold_off(first)
        with socket.create_connection(first.getsockname(), timeout=0.9):
            assert len([accepted.close() for accepted, _ in queued(first)]) == 1


async def test_no_more_are_taken_than_asked_for():
    with listening() as first, contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(socket.create_connection(first.getsockname()))
        assert [
            [accepted.close() for accepted, _ in queued(first, most)] for most in (2, 2, 2)
        ] == [
            [None, None],
            [None],
            [],
        ]


def test_somebody_who_connects_for_ever_keeps_no_listener_from_ending():
    class Flooded:
        def accept(self):
            return self, ("192.0.2.1", 1)

        def setblocking(self, flag):
            pass

    assert len(list(queued(Flooded()))) == BACKLOG + 1
