"""If these fail, a side process lets in whom its socket refuses, or answers 40 ms late."""

import asyncio
import errno
import socket

import pytest

from portcullis.client import accepting as module
from portcullis.client.accepting import accepting

pytestmark = pytest.mark.anyio


class Choosy(socket.socket):
    """Refuses the first, and then finds no descriptor for the next at first."""

    faults = None

    def accept(self):
        made, address = super().accept()
        if self.faults:
            made.close()
            raise self.faults.pop(0)
        return made, address


class Saying(asyncio.Protocol):
    def connection_made(self, transport):
        there = transport.get_extra_info("socket")
        transport.write(b"%d" % there.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        transport.close()


async def test_who_is_refused_is_not_served_and_who_comes_after_is(monkeypatch):
    monkeypatch.setattr(module, "_AGAIN_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as plain:
        listening = Choosy(fileno=plain.detach())
    listening.faults = [BlockingIOError(), OSError(errno.EMFILE, "none left")]
    with accepting(listening, Saying):
        async with asyncio.timeout(10):
            for said in (b"", b"", b"1"):
                reader, writer = await asyncio.open_connection(*listening.getsockname())
                assert await reader.read() == said
                writer.close()
    assert listening.fileno() == -1
