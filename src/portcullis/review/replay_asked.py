"""What was asked of policy, restored from the log: calls as far as their events tell them.

An event has the names of all arguments (64 at most) and the values of those that the catalogue
calls clear; sessions are told of when they are opened. What is not there is *unknown*, and is
never guessed.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from operator import attrgetter
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec

from portcullis.audit.query import records
from portcullis.audit.verify import own_verifier
from portcullis.core.call import Action, Call, Context, Route
from portcullis.core.egress import Way
from portcullis.core.event import Event, EventType
from portcullis.core.names import HIDDEN
from portcullis.core.principal import Principal, PrincipalKind, Session

DECISIONS: Final = frozenset({EventType.TOOL_CALL, EventType.LLM_CALL, EventType.DECISION})
"""The types of events that a decision leaves."""
_VISIBLE: Final = frozenset(
    {"PC2004", "PC2006", "PC3001", "PC3002", "PC3004", "PC3005", "PC3006", "PC3007", "PC3008"}
    | {"PC3009", "PC3012", "PC3015", "PC3016", "PC3017", "PC3018", "PC3019", "PC3029", "PC9001"}
)
"""The codes with which policy itself refuses, where another check asks it in passing."""
_BEFORE: Final = frozenset({"contain", "isolate", "agent-breaker", "restore", "validate"})
"""The checks that come before policy is asked."""
_OTHERS: Final = frozenset({"PC3013", "PC3014"})
"""Refusals of the same check that are none of this agent's policy: scopes and delegators."""
_NAMES: Final = 64
_SESSIONS: Final = 65_536
"""Sessions whose opening is remembered; the one that was opened first is forgotten first."""
ARGUMENT: Final = "arguments."
_FOREVER: Final = 1e11

Contents: TypeAlias = Callable[[str], Mapping[str, bytes]]
"""The sealed content of an event: JSON by field (``arguments.NAME``); empty where none is kept."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One question that policy was asked, or would have been.

    ``unknown`` are the arguments whose values are not known; ``hidden`` says that something else
    of it is not: its name, or the name of an argument. ``task`` is what the session's task
    declared of it: None for nothing that the log tells. ``allowed`` is what the policy ``policy``
    said then (``code`` when it refused), None where something else refused before it was asked.
    """

    id: str
    time: datetime
    call: Call
    context: Context
    unknown: frozenset[str] = frozenset()
    hidden: bool = False
    allowed: bool | None = None
    code: str = ""
    policy: str = ""
    risk: str = ""
    rule: str = ""
    observed: bool = False
    findings: tuple[str, ...] = ()
    approval: str = ""
    commitments: Mapping[str, str] = {}

    @property
    def agent(self) -> str:
        """Whose call it was."""
        return self.context.principal.id

    @property
    def target(self) -> str:
        """What was called, qualified by its server where it has one."""
        call = self.call
        return f"{call.server}.{call.name}" if call.server else call.name


def events(places: Iterable[Path], since: datetime | None = None) -> Iterator[Event]:
    """The events of some logs in the order of their times, from ``since`` on.

    Raises Problem PC6002 or PC6005 for a log that is damaged, PC7005 where there is none.
    """
    streams = [_timed(place, since) for place in places]
    return heapq.merge(*streams, key=attrgetter("time"))


def _timed(place: Path, since: datetime | None) -> Iterator[Event]:
    for record in records(place, own_verifier(place)):
        if since is None or record.event.time >= since or record.event.method == "sessions.open":
            yield record.event


class Restoring:
    """Restores what was asked, event after event, in the order of time."""

    def __init__(self, since: datetime | None = None) -> None:
        self._since = since
        self._grants: OrderedDict[str, tuple[str, ...] | None] = OrderedDict()

    def take(self, event: Event) -> Asked | None:
        """What was asked; None for an event that is no decision about an agent's own call."""
        if event.method == "sessions.open" and event.verdict == "allow":
            self._open(event)
            return None
        ours = event.type in DECISIONS and event.principal_kind == PrincipalKind.AGENT
        if not ours or event.looked_up_for or event.action not in set(Action):
            return None
        if self._since is not None and event.time < self._since:
            return None
        allowed, code = _decided(event)
        arguments, unknown, hidden = _arguments(event)
        call = Call(
            id=event.id,
            route=Route.MCP_HTTP,
            action=Action(event.action),
            server=event.server,
            name=event.name,
            method=event.method,
            arguments=arguments,
            payload=None,
            body=b"",
            features=event.features,
        )
        return Asked(
            id=event.id,
            time=event.time,
            call=call,
            context=self._context(event),
            unknown=unknown,
            hidden=hidden or event.name == HIDDEN or HIDDEN in event.features,
            allowed=allowed,
            code=code,
            policy=event.policy,
            risk=event.risk,
            rule=event.rule,
            observed=event.observed,
            findings=event.findings,
            approval=event.approval,
            commitments=event.commitments,
        )

    def _open(self, event: Event) -> None:
        tools = event.parameters.get("tools")
        whole = isinstance(tools, list) and all(isinstance(one, str) for one in tools)
        self._grants[event.session] = tuple(tools) if whole and isinstance(tools, list) else None
        if len(self._grants) > _SESSIONS:
            self._grants.popitem(last=False)

    def _context(self, event: Event) -> Context:
        """Who, in which session; whose user and row scope no event tells."""
        session = None
        at = event.time.timestamp()
        if event.session:
            session = Session(
                id=event.session,
                agent=event.principal,
                application=event.application,
                user="",
                prompt="",
                subject={},
                grant=self._grants.get(event.session),
                opened_at=at,
                expires_at=_FOREVER,
            )
        principal = Principal(
            kind=PrincipalKind.AGENT,
            id=event.principal,
            credential="replay",
            expires_at=_FOREVER,
            session=event.session or None,
        )
        return Context(
            principal=principal, session=session, source="replay", trace_id="", received_at=at
        )


def _decided(event: Event) -> tuple[bool | None, str]:
    """What policy said, as the record has it, and with which code it refused."""
    if event.verdict in {"allow", "hold"}:
        return True, ""
    if event.check == "authorize" and event.code not in _OTHERS:
        return False, event.code
    if event.check in {"validate", ""} and event.code in _VISIBLE:
        return False, event.code
    if event.check in _BEFORE or event.code in _OTHERS or not event.check:
        return None, ""
    return True, ""


def _arguments(event: Event) -> tuple[dict[str, Any], frozenset[str], bool]:
    """The arguments, those of them that are unknown, and whether there may be others."""
    if event.action == Action.EGRESS:
        return _egress(event)
    if event.action != Action.TOOL:
        return {}, frozenset(), False
    names = [one.removeprefix(ARGUMENT) for one in event.commitments if one.startswith(ARGUMENT)]
    arguments = event.parameters | dict.fromkeys(names)
    numbered = any(name.startswith("?") for name in names)
    return arguments, frozenset(names), numbered or len(arguments) >= _NAMES


def filled(asked: Asked, contents: Contents) -> Asked:
    """The same with what is kept of its content."""
    if not asked.unknown or asked.call.action is not Action.TOOL:
        return asked
    kept, found = contents(asked.id), dict[str, Any]()
    for name in asked.unknown:
        with suppress(KeyError, msgspec.DecodeError):
            found[name] = msgspec.json.decode(kept[f"{ARGUMENT}{name}"])
    call = msgspec.structs.replace(asked.call, arguments=asked.call.arguments | found)
    return msgspec.structs.replace(asked, call=call, unknown=asked.unknown - found.keys())


def _egress(event: Event) -> tuple[dict[str, Any], frozenset[str], bool]:
    """What was asked of the network: a request's path is not in the log."""
    host, _, port = event.name.rpartition(":")
    way = Way.REQUEST
    if not host:
        way, host, port = Way.DNS, event.name, "0"
    elif event.method == "CONNECT":
        way = Way.CONNECT
    known = {
        "way": way.value,
        "scheme": "",
        "host": host,
        "port": int(port) if port.isdecimal() else 0,
        "method": "" if way is Way.CONNECT else event.method,
        "path": "",
    }
    return known, frozenset({"scheme", "path"} if way is Way.REQUEST else ()), False
