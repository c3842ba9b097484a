"""Serving on a socket that says itself whom it accepts.

Loops of libuv accept on the descriptor and never ask the object: what its ``accept`` refuses they
would let in. Here every connection has come through that method, under any loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Final

_BACKLOG: Final = 1024
_AGAIN_SECONDS: Final = 1.0
"""Before it is tried anew when there were no descriptors left."""


@contextlib.contextmanager
def accepting(
    listener: socket.socket, protocol: Callable[[], asyncio.BaseProtocol]
) -> Iterator[None]:
    """Serve whom ``listener.accept`` returns until the block ends; then the listener is closed.

    It raises BlockingIOError for who is refused. Connections that stand are left as they are.
    """
    listener.setblocking(False)  # noqa: FBT003 - the standard library's signature
    listener.listen(_BACKLOG)
    serving = _Accepting(listener, protocol)
    serving.begin()
    try:
        yield
    finally:
        serving.end()


class _Accepting:
    def __init__(
        self, listener: socket.socket, protocol: Callable[[], asyncio.BaseProtocol]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._protocol = protocol
        self._begun: set[asyncio.Task[None]] = set()
        self._ended = False

    def begin(self) -> None:
        if not self._ended:
            self._loop.add_reader(self._listener, self._accept)

    def end(self) -> None:
        self._ended = True
        self._loop.remove_reader(self._listener)
        self._listener.close()
        for task in tuple(self._begun):
            task.cancel()

    def _accept(self) -> None:
        try:
            made, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError:  # no descriptors are left, most likely
            self._loop.remove_reader(self._listener)
            self._loop.call_later(_AGAIN_SECONDS, self.begin)
            return
        task = self._loop.create_task(self._serve(made))
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)

    async def _serve(self, made: socket.socket) -> None:
        try:
            made.setblocking(False)  # noqa: FBT003 - the standard library's signature
            if made.family != socket.AF_UNIX:
                made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.connect_accepted_socket(self._protocol, made)
        except OSError:  # it is gone
            made.close()
        except BaseException:
            made.close()
            raise
