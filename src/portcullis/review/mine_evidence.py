"""What an agent did that a policy may be mined from: allowed, untainted, successful calls only.

A session is *suspect* from the first call of its that shows an attack: an injection or a canary
was found in it, or a value in it had no source. What it does from then on may be what an outsider
wants, and is not learned from; what it did before is.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, Protocol

import msgspec

from portcullis.core.call import Action
from portcullis.core.event import NOT_REQUIRED, Event
from portcullis.policy.grammar import LISTS
from portcullis.policy.model import Policy
from portcullis.review.replay_asked import ARGUMENT, Asked, Contents, Restoring, filled

_ATTACKS: Final = frozenset({"INJECTION", "CANARY", "HONEYTOKEN"})
"""Findings after which a session is suspect."""
_ATTACKED: Final = frozenset({"PC3020", "PC3022", "PC3060", "PC4010", "PC5065"})
"""Refusals after which it is: a canary, an injection, no source, quarantine, a honeytoken."""
_PENDING: Final = 65_536
"""Calls whose result is awaited; the oldest are forgotten, and not learned from."""
_SUSPECTS: Final = 65_536
_CUT: Final = 256
"""From here on a name in an event may be cut."""
_LEARNED: Final = frozenset(
    {Action.TOOL, Action.MODEL, Action.RESOURCE, Action.PROMPT, Action.EGRESS, Action.COMPLETE}
    | {Action.SERVER_REQUEST}
)
"""What a role grants by name; lists and the protocol follow from it."""
_FORMS: Final[dict[str, str]] = {
    Action.TOOL: "allowed_tools",
    Action.MODEL: "models",
    Action.RESOURCE: "allowed_resources",
    Action.PROMPT: "allowed_prompts",
}
"""In which list of a role a name has to fit."""


class Scopes(Protocol):
    """Tells whether a value was the session's own, by the commitments of the event."""

    def user(self, asked: Asked, value: Any) -> bool:
        """Whether the session's user is this."""
        ...

    def members(self, asked: Asked, argument: str, value: Any) -> tuple[str, ...]:
        """The members of the session's subject that are this value."""
        ...


class NoScopes:
    """Where nobody can tell."""

    def user(self, asked: Asked, value: Any) -> bool:
        """Nobody can."""
        del asked, value
        return False

    def members(self, asked: Asked, argument: str, value: Any) -> tuple[str, ...]:
        """Nobody can."""
        del asked, argument, value
        return ()


class Learned(msgspec.Struct, frozen=True, kw_only=True):
    """One call to learn from. ``own`` has, by argument, what of the session's it is equal to."""

    asked: Asked
    sealed: frozenset[str] = frozenset()
    own: dict[str, tuple[str, ...]] = {}


class Evidence(msgspec.Struct, kw_only=True):
    """What was learned from, and what was not, each with why.

    ``unnamed`` are calls of what no entry of a policy can name, ``failed`` those without a good
    result, ``suspect`` those of sessions that were attacked.
    """

    agent: str
    learned: list[Learned] = []
    seen: int = 0
    refused: int = 0
    failed: int = 0
    unnamed: int = 0
    suspect: int = 0
    approved: int = 0
    observed: int = 0
    first: datetime | None = None
    last: datetime | None = None


def gather(
    events: Iterable[Event],
    agent: str,
    *,
    since: datetime | None = None,
    contents: Contents | None = None,
    scopes: Scopes | None = None,
    most: int = 100_000,
) -> Evidence:
    """Read what an agent did; its last ``most`` calls at most are learned from."""
    gathering = _Gathering(agent, since, contents, scopes or NoScopes(), most)
    for event in events:
        gathering.take(event)
    return gathering.done()


class _Gathering:
    def __init__(
        self,
        agent: str,
        since: datetime | None,
        contents: Contents | None,
        scopes: Scopes,
        most: int,
    ) -> None:
        self._restoring = Restoring(since)
        self._contents = contents
        self._scopes = scopes
        self._pending: OrderedDict[str, Asked] = OrderedDict()
        self._suspect: OrderedDict[str, None] = OrderedDict()
        self._good: OrderedDict[str, Asked] = OrderedDict()
        self._most = most
        self.found = Evidence(agent=agent, learned=[])

    def take(self, event: Event) -> None:
        """One event, in the order of time."""
        asked = self._restoring.take(event)
        if event.principal != self.found.agent:
            return
        if event.code in _ATTACKED or _ATTACKS & set(event.finding_types()):
            self._suspect[event.session or event.trace_id] = None
            if len(self._suspect) > _SUSPECTS:
                self._suspect.popitem(last=False)
        if asked is not None:
            self._decided(event, asked)
        elif event.decision in self._pending:
            self._ended(event, self._pending.pop(event.decision))

    def _decided(self, event: Event, asked: Asked) -> None:
        if asked.call.action not in _LEARNED:
            return
        found = self.found
        found.seen += 1
        found.first, found.last = found.first or asked.time, asked.time
        if event.verdict != "allow":
            found.refused += 1
        elif asked.hidden or _unnameable(event):
            found.unnamed += 1
        elif (event.session or event.trace_id) in self._suspect:
            found.suspect += 1
        else:
            self._pending[event.id] = asked
            if len(self._pending) > _PENDING:
                self._pending.popitem(last=False)

    def _ended(self, event: Event, asked: Asked) -> None:
        """How a call came out; one that showed an attack when its answer came is no lesson."""
        if (event.session or event.trace_id) in self._suspect:
            self.found.suspect += 1
        elif event.verdict != "allow" or (event.result is not None and event.result.error):
            self.found.failed += 1
        else:
            self._good[asked.id] = asked
            if len(self._good) > self._most:
                self._good.popitem(last=False)

    def done(self) -> Evidence:
        """What was found; calls that have no result yet are not learned from."""
        self.found.failed += len(self._pending)
        for asked in self._good.values():
            self.found.approved += asked.approval not in {"", NOT_REQUIRED}
            self.found.observed += asked.observed
            self.found.learned.append(self._learn(asked))
        return self.found

    def _learn(self, asked: Asked) -> Learned:
        clear = frozenset(asked.call.arguments) - asked.unknown
        if self._contents is not None:
            asked = filled(asked, self._contents)
        if asked.call.action is not Action.TOOL:
            return Learned(asked=asked)
        own = {}
        for name, value in asked.call.arguments.items():
            if name in asked.unknown or asked.context.session is None:
                continue
            members = tuple(f"session.subject.{one}" for one in self._of(asked, name, value))
            users = ("session.user",) if self._scopes.user(asked, value) else ()
            if users or members:
                own[name] = (*users, *members)
        return Learned(asked=asked, sealed=frozenset(asked.call.arguments) - clear, own=own)

    def _of(self, asked: Asked, name: str, value: Any) -> tuple[str, ...]:
        scalar = isinstance(value, str | int) and not isinstance(value, bool)
        return self._scopes.members(asked, name, value) if scalar else ()


def _unnameable(event: Event) -> bool:
    """Whether an entry with this name would grant something else (others, or nothing), or is none.

    Names are the agent's: one that no policy can have must not cost it the whole draft.
    """
    if event.name == "ping" and event.action == Action.SERVER_REQUEST:
        return True
    form = _FORMS.get(event.action or "")
    named = event.name if event.action == Action.MODEL else f"{event.server}.{event.name}"
    fits = form is None or re.fullmatch(LISTS[form][0], named) is not None
    return not fits or not named.isprintable() or "*" in event.name or len(event.name) >= _CUT


def committed(asked: Asked, name: str) -> str:
    """The commitment of an argument, empty for one in clear."""
    return asked.commitments.get(f"{ARGUMENT}{name}", "")


def members_in(policy: Policy) -> frozenset[str]:
    """The members of subjects that a policy's bounds speak of."""
    return frozenset(
        bound.session[1] for tool in policy.tools for bound in tool.bounds if len(bound.session) > 1
    )
