"""The launcher of ``bench sandbox``'s egress: what ``portcullis run`` has outside of a box.

Run as ``python -m portcullis.bench.sandbox_launcher SVID URL SOCKET``: what comes in on the Unix
socket goes to the egress listener at URL under the SVID, which is a file as msgspec writes it.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from pathlib import Path
from typing import Final

import msgspec
import uvloop

from portcullis.bench.identity_load import tls_of
from portcullis.client.gate import Granted
from portcullis.client.svid import Svid
from portcullis.core.errors import Problem
from portcullis.execution.launch.egress import Egress

_BACKLOG: Final = 128


class _Fixed:
    """A gate under one SVID, which is not renewed, and without a session."""

    def __init__(self, url: str, svid: Svid) -> None:
        self.url = url
        self.context: ssl.SSLContext = tls_of(svid)

    def link(self) -> _Fixed:
        return self

    async def grant(
        self, method: str, url: str, delegation: str = "", *, spent: str = ""
    ) -> Granted:
        del method, url, delegation, spent
        raise Problem("PC9002", "there is no session")

    def doubt(self) -> None:
        """Whoever waits for an answer is told by the end of the connection."""

    async def cut_off(self) -> Problem:
        await asyncio.Event().wait()
        raise Problem("PC9002", "unreachable")


def _listener(path: str) -> socket.socket:
    """A socket at ``path``, which listens when it is there."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(f"{path}.new")
    listener.listen(_BACKLOG)
    Path(f"{path}.new").rename(path)
    return listener


async def _main(svid: Svid, url: str, listener: socket.socket) -> None:
    gate = _Fixed(url, svid)
    async with Egress(gate, url, session=False).listening(listener):
        await asyncio.Event().wait()


if __name__ == "__main__":
    held = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Svid)
    uvloop.run(_main(held, sys.argv[2], _listener(sys.argv[3])))
