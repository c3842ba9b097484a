"""The port to where in the logs an incident's history stands: rows that say where to look."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal, Protocol, TypeAlias

import msgspec

from portcullis.core.incident import Subject


class Spot(msgspec.Struct, frozen=True, kw_only=True):
    """Where something stands: entry ``number`` of ``log``, and its row. ``found``: it has findings.

    ``at`` is seconds since the epoch.
    """

    log: str
    number: int
    at: float
    type: str
    principal: str
    session: str
    action: str
    method: str
    server: str
    name: str
    risk: str
    verdict: str
    code: str
    approval: str
    found: bool = False

    @property
    def key(self) -> tuple[float, str, int]:
        """Its place in order of time."""
        return self.at, self.log, self.number

    @property
    def tool(self) -> str:
        """What was called, qualified."""
        return ".".join(filter(None, (self.server, self.name)))


Key: TypeAlias = tuple[float, str, int]
Order: TypeAlias = Literal["oldest", "newest"]


class Happened(Protocol):
    """Where to look, as far as the logs are projected. Every method blocks, and has a bound.

    ``spots`` are those of a subject, what it did and what was done to it, in order of time beyond
    ``after``; ``uses`` the allowed calls of these tools (``server``, ``name``) by any agent but
    one; ``joined`` what other agents did in sessions of an agent: both with whether that is all
    of it. ``until`` is exclusive. ``sessions`` are the newest that an agent acted in. ``names`` are
    what else something may be done to it by: its newest sessions and credentials, and its role.
    ``servers`` has, by what was called (server and name), when an agent was last allowed it.
    ``policies`` are where policies came into force since then, and the last before that in each
    log; the newest first. ``reviewed`` are those of these events that a human closed.
    ``reached`` is, by log, how many entries are projected.
    """

    def spots(
        self,
        subject: Subject,
        since: float,
        until: float,
        after: Key | None,
        limit: int,
        order: Order = "oldest",
    ) -> list[Spot]: ...
    def uses(
        self,
        tools: Collection[tuple[str, str]],
        apart: str,
        since: float,
        until: float,
        limit: int,
    ) -> tuple[list[Spot], bool]: ...
    def joined(
        self, sessions: Collection[str], apart: str, since: float, until: float, limit: int
    ) -> tuple[list[Spot], bool]: ...
    def sessions(self, agent: str, since: float, until: float, limit: int) -> tuple[str, ...]: ...
    def names(self, agent: str, since: float, until: float) -> tuple[str, ...]: ...
    def servers(self, subject: Subject, since: float) -> Mapping[tuple[str, str], float]: ...
    def policies(self, since: float, limit: int) -> list[Spot]: ...
    def reviewed(self, events: Collection[str]) -> frozenset[str]: ...
    def reached(self) -> Mapping[str, int]: ...
