"""A fan-out over a Unix socket, for the processes of one machine and one user.

The first message of a follower is its name; every message has its length before it (4 bytes, big
endian). The socket (0600) lets in nobody but processes of the same user, by SO_PEERCRED.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, cast

import structlog

from portcullis.core.errors import Problem
from portcullis.core.fanout import FIRST_PAUSE, LONGEST_PAUSE, MAX_FRAME, MAX_WAITING, Heard

log = structlog.get_logger(__name__)

_LENGTH: Final = struct.Struct(">I")
_PEER: Final = struct.Struct("3i")
_NAME: Final = 128


class _Messages(asyncio.Protocol):
    """Messages with their length before them."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            end = _LENGTH.size + length
            if length > MAX_FRAME:
                self.drop()
                return
            if len(self._buffer) < end:
                return
            message = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            self.received(message)

    def received(self, message: bytes) -> None:
        """One message."""
        raise NotImplementedError

    def send(self, message: bytes) -> bool:
        """Send it at once; False when there is nobody, or too much waits already."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return False
        transport.write(_LENGTH.pack(len(message)) + message)
        if transport.get_write_buffer_size() > MAX_WAITING:
            self.drop()
            return False
        return True

    def drop(self) -> None:
        """End it, whatever waits."""
        if self.transport is not None:
            self.transport.abort()


class _Member(_Messages):
    """A follower, at the hub."""

    def __init__(self, hub: UnixHub) -> None:
        super().__init__()
        self._hub = hub
        self.name = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        peer = transport.get_extra_info("socket").getsockopt(
            socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size
        )
        if _PEER.unpack(peer)[1] != os.geteuid():
            log.warning("feed_stranger_refused")
            self.drop()

    def received(self, message: bytes) -> None:
        if self.name:
            self._hub.hear(message)
            return
        self.name = message[:_NAME].decode(errors="replace")
        self._hub.joined(self)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._hub.lost(self)


class UnixHub:
    """Implements ``core.fanout.Hub`` at ``path``, in a directory that is its owner's alone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._heard: Heard | None = None
        self._members: dict[str, _Member] = {}
        self._connected: set[_Member] = set()
        self._server: asyncio.AbstractServer | None = None
        self._ours: os.stat_result | None = None

    async def open(self) -> None:
        """Begin to listen. Raises Problem PC4005 when another publisher does."""
        listening = self._listening()
        self._ours = self._path.lstat()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(self._member, sock=listening)

    async def run(self, heard: Heard) -> None:
        """Serve until cancelled."""
        self._heard = heard
        try:
            await asyncio.Future()
        finally:
            if self._server is not None:
                self._server.close()
            for member in tuple(self._connected):
                member.drop()
            with contextlib.suppress(OSError):
                if self._ours is not None and os.path.samestat(self._path.lstat(), self._ours):
                    self._path.unlink()

    def send(self, frame: bytes, to: str = "") -> None:
        """Send to all, or to one."""
        if to:
            member = self._members.get(to)
            if member is not None:
                self._say(member, frame)
            return
        for member in tuple(self._members.values()):
            self._say(member, frame)

    def joined(self, member: _Member) -> None:
        """A follower said its name; one of the same name is gone, whether it knows or not."""
        before = self._members.get(member.name)
        self._members[member.name] = member
        if before is not None:
            before.drop()

    def lost(self, member: _Member) -> None:
        """A follower is gone."""
        self._connected.discard(member)
        if self._members.get(member.name) is member:
            del self._members[member.name]

    def hear(self, frame: bytes) -> None:
        """A follower said something."""
        if self._heard is not None:
            self._heard(frame)

    def _say(self, member: _Member, frame: bytes) -> None:
        if not member.send(frame):
            log.warning("feed_follower_dropped", gateway=member.name)

    def _member(self) -> _Member:
        member = _Member(self)
        self._connected.add(member)
        return member

    def _listening(self) -> socket.socket:
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            self._clear()
            os.fchmod(listening.fileno(), 0o600)  # its file is made with this mode
            with _address(self._path) as address:
                listening.bind(address)
            listening.listen(128)
        except OSError as error:
            listening.close()
            raise Problem("PC4005", f"{self._path} cannot be used: {error.strerror}") from None
        except Problem:
            listening.close()
            raise
        return listening

    def _clear(self) -> None:
        """Remove a socket that nobody listens at."""
        try:
            mode = self._path.lstat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise Problem("PC4005", f"{self._path} is there and is not a socket")
        with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as probe:
            probe.settimeout(0)
            try:
                with _address(self._path) as address:
                    probe.connect(address)
            except ConnectionRefusedError:
                self._path.unlink()
                return
            except BlockingIOError:
                pass  # a full backlog is a listener, too
        raise Problem("PC4005", "another control plane publishes there")


@contextlib.contextmanager
def _address(path: Path) -> Iterator[str]:
    """The path of a socket in a form that is short enough for any (unix(7): 107 bytes)."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


class _Joined(_Messages):
    """The hub, at a follower."""

    def __init__(self, heard: Heard) -> None:
        super().__init__()
        self._heard = heard
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def received(self, message: bytes) -> None:
        self._heard(message)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if not self.over.done():
            self.over.set_result(None)


class UnixLine:
    """Implements ``core.fanout.Line``."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._name = name
        self._hub: _Joined | None = None

    async def run(self, heard: Heard, joined: Callable[[], None]) -> None:
        """Follow until cancelled."""
        pause = FIRST_PAUSE
        while True:
            try:
                with _address(self._path) as address:
                    _, hub = await asyncio.get_running_loop().create_unix_connection(
                        lambda: _Joined(heard), address
                    )
            except OSError:
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            pause = FIRST_PAUSE
            hub.send(self._name.encode())
            self._hub = hub
            try:
                joined()
                await hub.over
            finally:
                self._hub = None
                hub.drop()
            await asyncio.sleep(pause)

    def send(self, frame: bytes) -> None:
        """Say something to the publisher."""
        if self._hub is not None:
            self._hub.send(frame)
