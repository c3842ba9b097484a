"""Gateways on hosts of their own: what they are told as files, and what they say of themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

import msgspec

SAY_SECONDS: Final = 5.0
"""How often a gateway says that it is there."""
FRESH_SECONDS: Final = 30.0
"""What is older was said by one that does not run any more, or hangs."""


class Bundle(msgspec.Struct, frozen=True):
    """Files that change together, by their names, and which change of theirs this is."""

    version: int
    files: Mapping[str, bytes]


class Shelf(Protocol):
    """Bundles by name, which the control plane puts there for gateways that have no folder of its.

    Every method blocks. Whoever can write where they are kept can neither read one nor make one:
    what was not put there, or not under this name and version, is a Problem PC7082. Problem PC9002
    when they cannot be read or written.
    """

    def put(self, name: str, files: Mapping[str, bytes], above: int) -> int:
        """Replace a bundle; its version, which is more than ``above`` and the one before."""
        ...

    def versions(self) -> dict[str, int]:
        """What there is, and which change of it, as far as that can be told without opening it."""
        ...

    def get(self, name: str) -> Bundle | None:
        """A bundle, or None when there is none of this name."""
        ...


class Presence(msgspec.Struct, frozen=True, kw_only=True):
    """What a gateway says of itself, ``at`` which time (seconds since the epoch).

    ``urls`` are those of its listeners by their names, and ``relay`` among them where
    other gateways reach it. ``apart`` says that it has no folder in common with the control plane.
    ``log`` is the name of its log, ``vkey`` that log's verifier key, ``policy`` the digest of the
    policy by which it decides, ``erased`` the last erasure that it made, ``format`` that of
    ``core.formats``. ``ended`` says that it ended as it was asked to.
    """

    name: str
    log: str
    host: str
    at: float
    apart: bool
    vkey: str
    version: str
    urls: Mapping[str, str] = {}
    policy: str = ""
    format: int = 0
    erased: int = 0
    ended: bool = False


class Retired(msgspec.Struct, frozen=True, kw_only=True):
    """A gateway that is never to serve again, since ``at`` (seconds since the epoch).

    ``entries`` is how many its log had when it was ``closed``: nothing is brought of it since.
    """

    name: str
    log: str
    at: float
    closed: bool = False
    entries: int = 0


class Presences(Protocol):
    """What gateways say of themselves. Every method blocks; Problem PC9002 for a fault.

    A name belongs to one log for ever, and to one process at a time. What somebody else wrote in a
    gateway's place is left out, and logged.
    """

    def claim(self, said: Presence, process: str) -> None:
        """Begin to be the gateway of this name, as ``process``, which is no other's.

        Raises Problem PC6003 while another process is, on another host, and PC7083 where the name
        is that of another log.
        """
        ...

    def say(self, said: Presence, process: str, figures: bytes) -> bool:
        """Say it again, with figures in Prometheus' text; False when another process has come."""
        ...

    def leave(self, said: Presence, process: str) -> None:
        """Run no more, as it was asked to."""
        ...

    def all(self) -> tuple[Presence, ...]:
        """What each gateway said last, however long ago."""
        ...

    def running(self) -> tuple[Presence, ...]:
        """The same of those that run, or did ``FRESH_SECONDS`` ago and did not say goodbye."""
        ...

    def figures(self, name: str) -> bytes:
        """A gateway's figures; nothing where there are none."""
        ...
