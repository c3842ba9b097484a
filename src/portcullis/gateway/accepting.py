"""A listening socket that is given up without losing whoever is on the way to it.

The kernel finishes handshakes by itself and queues what is connected for whoever accepts. Closing
the socket resets what is queued there and what is half-way (tcp(7)), also where other processes
listen at the same address: they have queues of their own. So it is emptied before it is closed; and
where handshakes take a while, none is begun meanwhile.
"""

from __future__ import annotations

import asyncio
import ctypes
import ipaddress
import socket
import struct
from collections.abc import Iterator
from typing import Final

import structlog

BACKLOG: Final = 1024
"""How many connections the kernel may queue for us; it takes one more (listen(2))."""
HANDSHAKE_SECONDS: Final = 0.3
"""How long a handshake with a client elsewhere may take that has begun."""

log = structlog.get_logger(__name__)

_SO_ATTACH_FILTER: Final = 26
"""socket(7); not among Python's constants."""
_FLAGS, _SYN, _SYN_ACK = 13, 0x02, 0x12
"""Where a segment's flags are, and two of them (RFC 9293, 3.1)."""
_LOAD, _AND, _EQUAL, _RETURN = 0x30, 0x54, 0x15, 0x06
"""Instructions of the classic filter (bpf(4)): load a byte, and, jump if equal, return."""
_PASS: Final = 0xFFFFFFFF
_BEGINS_NONE: Final = (
    (_LOAD, 0, 0, _FLAGS),
    (_AND, 0, 0, _SYN_ACK),
    (_EQUAL, 0, 1, _SYN),
    (_RETURN, 0, 0, 0),
    (_RETURN, 0, 0, _PASS),
)


async def hold_off(listening: socket.socket) -> None:
    """Begin no more handshakes, and wait for those that were begun; none takes long on loopback."""
    if not _far(listening):
        return
    try:
        begin_none(listening)
    except OSError as error:
        log.warning("handshakes_not_held_off", reason=error.strerror)
    else:
        await asyncio.sleep(HANDSHAKE_SECONDS)


def begin_none(listening: socket.socket) -> None:
    """Have the kernel drop what would begin a connection here; those that have begun go on.

    A client whose first segment is dropped sends it again after a second (RFC 6298, 2.1), when
    somebody else has the address. Raises OSError where there is no such filter.
    """
    program = b"".join(struct.pack("HBBI", *one) for one in _BEGINS_NONE)
    code = ctypes.create_string_buffer(program)
    said = struct.pack("HP", len(_BEGINS_NONE), ctypes.addressof(code))
    listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, said)


def _far(listening: socket.socket) -> bool:
    """Whether clients come from elsewhere: on loopback a handshake is over as it begins."""
    host = listening.getsockname()[0]
    return not ipaddress.ip_address(host.partition("%")[0]).is_loopback


def queued(
    listening: socket.socket, most: int = BACKLOG + 1
) -> Iterator[tuple[socket.socket, str]]:
    """What is connected and was not accepted, at most so many, with its address as text.

    By default that is all that can have been queued when this began: it ends, however quickly
    others come. The socket does not block. Raises OSError when there are no more files.
    """
    while most > 0:
        try:
            accepted, address = listening.accept()
        except (BlockingIOError, InterruptedError):
            return
        except ConnectionAbortedError:
            continue  # the peer is gone already
        accepted.setblocking(False)  # noqa: FBT003 - the standard library's signature
        yield accepted, f"{address[0]}:{address[1]}"
        most -= 1
