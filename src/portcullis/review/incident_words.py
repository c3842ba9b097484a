"""What an event is called in a history: its kind, and a line for people.

A line has names, figures, what the catalogue lets stand in clear, and commitments: nothing that
is not in the log. Whatever is not printable is escaped.
"""

from __future__ import annotations

from itertools import islice
from typing import Any, Final

from portcullis.core.call import RiskClass
from portcullis.core.event import NOT_REQUIRED, Event, EventType
from portcullis.core.incident_log_ports import Spot

KINDS: Final[dict[str, str]] = {
    "read": "an allowed call that reads",
    "write": "an allowed call that changes something or goes out",
    "model": "an allowed request to a model",
    "result": "what came back",
    "denied": "a refusal",
    "limit": "a refusal by a limit or a breaker, and what breakers did",
    "approval": "a call that waited for a human, and what became of it",
    "finding": "anything in which inspection found something",
    "credential": "a token, a certificate or a join token was made, renewed or revoked",
    "session": "a session was opened, went on or was closed",
    "kill": "a kill, or its end",
    "quarantine": "a quarantine, or its end",
    "behaviour": "its risk is at another level, or somebody said what is usual",
    "incident": "a step of a response",
    "review": "somebody looked at a call afterwards",
    "operator": "anything else that somebody did to it",
}
"""What rows are called, and filters name."""

_DECISIONS: Final = frozenset({EventType.DECISION, EventType.TOOL_CALL, EventType.LLM_CALL})
_RESULTS: Final = frozenset({EventType.RESULT, EventType.TOOL_RESULT, EventType.LLM_RESULT})
_LIMITS: Final = ("PC307", "PC3061", "PC5022", "PC5023")
_METHODS: Final = {
    "approval": "approval",
    "sessions": "session",
    "kills": "kill",
    "quarantine": "quarantine",
    "behaviour": "behaviour",
    "breaker": "limit",
    "incident": "incident",
    "review": "review",
    "credentials": "credential",
    "entries": "credential",
    "join": "credential",
    "tokens": "credential",
    "token": "credential",
    "svid": "credential",
    "jwt_svid": "credential",
}
"""The kind of an administrative event, by the first part of its method."""
_ROTATE: Final = "principals.rotate"
_LONGEST: Final = 80
_LINE: Final = 400
_SHOWN: Final = 6
_HASH: Final = 12


def kind_of(spot: Spot) -> str:
    """The kind of what stands somewhere; ``finding`` is one that others may have beside."""
    if spot.type in _DECISIONS:
        return _decided(spot)
    if spot.type in _RESULTS:
        return "denied" if spot.verdict == "deny" else "result"
    if spot.type == EventType.ERROR:
        return "denied"
    if spot.type == EventType.IDENTITY or spot.method == _ROTATE:
        return "credential"
    return _METHODS.get(spot.method.partition(".")[0], "operator")


def _decided(spot: Spot) -> str:
    if spot.verdict == "deny":
        return "limit" if spot.code.startswith(_LIMITS) else "denied"
    if spot.verdict == "hold":
        return "approval"
    if spot.type == EventType.LLM_CALL:
        return "model"
    return "read" if spot.risk == RiskClass.READ else "write"


def line(event: Event) -> str:
    """An event in a line."""
    if event.type in _DECISIONS or event.type in _RESULTS:
        parts = [*_call(event)]
    else:
        parts = [*_act(event)]
    return short(", ".join(filter(None, parts)), _LINE)


def short(value: Any, longest: int = _LONGEST) -> str:
    """A text as it may be shown: printable and bounded."""
    plain = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(value)[: longest + 1])
    return plain if len(plain) <= longest else f"{plain[: longest - 1]}\u2026"


def tool_of(event: Event) -> str:
    """What was called or done, qualified."""
    return short(".".join(filter(None, (event.server, event.name))) or event.method)


def host_of(source: str) -> str:
    """The address of a source without its port, which changes with each connection."""
    host, colon, port = source.rpartition(":")
    return short(host if colon and port.isdigit() else source)


def _call(event: Event) -> list[str]:
    result = event.result
    came = event.type in _RESULTS
    said = [f"{event.verdict or event.type} {event.risk} {tool_of(event)}".replace("  ", " ")]
    if came:
        said = [f"{tool_of(event)} answered" + (f": {event.verdict}" if event.verdict else "")]
    if result is not None:
        said.append(f"{result.bytes} bytes" + (", an error" if result.error else ""))
    said += _arguments(event)
    said.append(f"{short(event.code)} {short(event.reason)}".strip())
    if event.findings:
        said.append("found " + ", ".join(map(short, event.finding_types()[:_SHOWN])))
    if event.approval and event.approval != NOT_REQUIRED:
        said.append(f"approval {short(event.approval)}")
    if event.looked_up_for:
        said.append("a lookup of the gate's own")
    said += _from(event)
    return said


def _arguments(event: Event) -> list[str]:
    """Arguments: the clear ones, and the beginning of the commitments to the others."""
    clear = [f"{short(name)}={short(value)}" for name, value in event.parameters.items()]
    hidden = [
        f"{short(name.removeprefix('arguments.'))}=#{mark_of(value)}"
        for name, value in event.commitments.items()
        if name.startswith("arguments.")
    ]
    found = [*islice((*clear, *hidden), _SHOWN)]
    more = len(clear) + len(hidden) - len(found)
    return [*found, f"{more} more arguments"] if more > 0 else found


def mark_of(commitment: str) -> str:
    """The beginning of a commitment, by which equal values are recognised."""
    return short(commitment.rpartition(":")[2][:_HASH])


def _act(event: Event) -> list[str]:
    who = ":".join(filter(None, (event.principal_kind, event.principal)))
    said = [f"{short(event.method)} {short(event.name)}".strip()]
    if who:
        said.append(f"by {short(who)}")
    if event.verdict == "deny":
        said.append(f"refused {short(event.code)} {short(event.reason)}".strip())
    for name, value in islice(event.parameters.items(), _SHOWN):
        if isinstance(value, str | int | float | bool):
            said.append(f"{short(name)}={short(value)}")
    if event.approval and event.approval not in {NOT_REQUIRED, event.name}:
        said.append(f"approval {short(event.approval)}")
    said += _from(event)
    return said


def _from(event: Event) -> list[str]:
    said = []
    if event.credential:
        said.append(f"credential {short(event.credential)}")
    if event.source:
        said.append(f"from {host_of(event.source)}")
    return said
