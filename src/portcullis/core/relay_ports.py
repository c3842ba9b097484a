"""The port of what has to stay at one of several gateways."""

from __future__ import annotations

from typing import Protocol


class Claims(Protocol):
    """Which gateway keeps what has to stay in one place, such as a server's process.

    ``claim`` returns the gateway that keeps ``key``: ``gateway`` itself if nobody did. ``take``
    puts ``gateway`` in the place of ``gone``, which is no more, and returns who keeps it then:
    whoever was first. ``release`` ends what ``gateway`` keeps, and nothing else. All are atomic
    among all gateways, quick, and raise Problem PC7050 when it cannot be said: then nobody serves
    it.
    """

    async def claim(self, key: str, gateway: str) -> str: ...
    async def take(self, key: str, gateway: str, gone: str) -> str: ...
    async def release(self, key: str, gateway: str) -> None: ...


class Peers(Protocol):
    """Where the gateways of other hosts are, as far as it is known here.

    ``address`` is where the gateway of this name takes what others pass on, ``tls://HOST:PORT``,
    empty where it runs and takes nothing, and None when no such gateway runs. It answers at once,
    from memory; ``look`` brings that up to date, for somebody who may have come just now.
    """

    def address(self, name: str) -> str | None: ...
    async def look(self) -> None: ...
