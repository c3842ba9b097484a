"""The head and the body of an answer in one write.

If these fail, every answer costs a system call more, or a head waits for a body that does not come.
"""

from __future__ import annotations

import asyncio

import pytest

from portcullis.gateway.joined import Joined

pytestmark = pytest.mark.anyio


class Transport:
    def __init__(self):
        self.written, self.closed = [], False

    def write(self, data):
        assert not self.closed
        self.written.append(data)

    def close(self):
        self.closed = True

    def is_closing(self):
        return self.closed


def joined():
    transport = Transport()
    return transport, Joined(asyncio.get_running_loop(), transport)


async def test_head_and_body_are_one_write_and_what_follows_is_written_at_once():
    transport, out = joined()
    out.write(b"HTTP/1.1 200 OK\r\n\r\n")
    assert transport.written == []
    out.write(b"one")
    out.write(b"two")
    assert transport.written == [b"HTTP/1.1 200 OK\r\n\r\none", b"two"]
    await asyncio.sleep(0)
    assert len(transport.written) == 2


async def test_a_head_whose_body_is_yet_to_come_waits_for_a_turn_of_the_loop_only():
    transport, out = joined()
    out.write(b"head")
    await asyncio.sleep(0)
    assert transport.written == [b"head"]


async def test_nobody_waits_for_the_word_that_a_body_may_be_sent():
    transport, out = joined()
    out.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert transport.written == [b"HTTP/1.1 100 Continue\r\n\r\n"]
    out.write(b"head")
    out.write(b"body")
    assert transport.written[1:] == [b"headbody"]


async def test_closing_writes_what_waits_and_a_socket_that_closed_meanwhile_gets_nothing():
    transport, out = joined()
    out.write(b"head")
    out.close()
    assert transport.written == [b"head"]
    assert out.is_closing()
    transport, out = joined()
    out.write(b"head")
    transport.close()
    await asyncio.sleep(0)
    assert transport.written == []
