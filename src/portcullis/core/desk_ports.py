"""The ports of what operators see of the whole."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol

from portcullis.core.desk import (
    AgentPage,
    AgentSeen,
    AgentsWanted,
    Course,
    Precedent,
    SeenFilter,
    SeenPage,
)
from portcullis.core.event import Event


class ActivityStore(Protocol):
    """What agents did, as far as the logs are projected. Every method blocks.

    ``decisions`` are the newest first; no page looks at more than a bounded number of rows,
    whatever is wanted. ``agents`` are by name; ``now`` is when nothing waits any more whose time
    is over. ``agent`` is None for one that is not registered; ``some`` are those of these names
    that are. ``course`` counts an agent's decisions from ``since`` on in ``count`` pieces of
    ``seconds``. ``last_seen`` has when something was last decided in a session, of those in which
    anything was. Cursors raise Problem PC3051.
    """

    def decisions(self, wanted: SeenFilter, cursor: str, limit: int) -> SeenPage: ...
    def agents(self, wanted: AgentsWanted, cursor: str, limit: int, now: float) -> AgentPage: ...
    def agent(self, name: str, now: float) -> AgentSeen | None: ...
    def some(self, names: Collection[str], now: float) -> Mapping[str, AgentSeen]: ...
    def course(self, agent: str, since: float, seconds: float, count: int) -> Course: ...
    def last_seen(self, sessions: Collection[str]) -> Mapping[str, float]: ...


class Precedents(Protocol):
    """The arguments of the last approved call of each agent, server and name that went ahead.

    They are encrypted under the key of their ``subject``: whoever destroys that destroys them.
    ``keep`` returns at once: they are kept in time, or not when they are too large; what was there
    before goes in either case. ``pass_by`` keeps nothing in their place. ``drop`` takes back those
    of an event that did not get on record. ``find`` blocks; None when none are kept or their key
    is gone. ``forget`` blocks, and destroys those from before then and those without a key.
    """

    def keep(self, event: Event, subject: str, arguments: Mapping[str, Any]) -> None: ...
    def pass_by(self, event: Event) -> None: ...
    def drop(self, event_id: str) -> None: ...
    def find(self, agent: str, server: str, name: str) -> Precedent | None: ...
    def forget(self, before: float) -> None: ...
