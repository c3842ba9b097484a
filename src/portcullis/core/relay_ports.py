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

    def claim(self, key: str, gateway: str) -> str: ...
    def take(self, key: str, gateway: str, gone: str) -> str: ...
    def release(self, key: str, gateway: str) -> None: ...
