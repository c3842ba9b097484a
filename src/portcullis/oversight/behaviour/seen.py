"""What an event says that is looked at: names, shapes, hosts. No content: hashes of values."""

from __future__ import annotations

import zlib
from typing import Any, Final

from portcullis.core.event import Event

_SUSPICIOUS: Final = frozenset({"INJECTION", "CANARY", "HONEYTOKEN", "OUTPUT_SCHEMA"})
_TREATED: Final = frozenset({"block", "hold", "strip", "wrap"})
_OURS: Final = (
    *("PC307", "PC309", "PC4", "PC502", "PC9"),
    *("PC5001", "PC5002", "PC5007", "PC5011", "PC5013"),
)
"""Refusals that follow from limits, from this score, from containment, from faults of our own and
from upstreams that are away: they say nothing about the agent that was not said before."""
_WHOLE: Final = frozenset({"request", "name", "prompt"})
"""What is committed to beside arguments, and for whom a call is, and whose data it is about."""
WHOSE: Final = frozenset({"user", "subject"})
_NONE: Final = _WHOLE | WHOSE
_NUMBERS: Final = (int, float)
_LONG: Final = 64
_ARGUMENT: Final = "arguments."


def tool_of(event: Event) -> str:
    """What was called, short, and the end of a longer name told apart: attackers choose names."""
    name = f"{event.server}.{event.name}" if event.server else event.name
    return name if len(name) <= _LONG else f"{name[: _LONG - 9]}~{value_of(name)}"


def host_of(source: str) -> str:
    """The host of a peer's address; ``unix`` and ``stdio`` stand for themselves."""
    host, _, port = source.rpartition(":")
    return (host if host and port.isdigit() else source)[:_LONG]


def suspicious(event: Event) -> bool:
    """Whether something was found in it from which nobody should learn."""
    for one in event.findings:
        what = one.partition("@")[0]
        kind, _, treatment = what.partition(":")
        if kind in _SUSPICIOUS or treatment in _TREATED:
            return True
    return False


def counts(code: str) -> bool:
    """Whether a refusal is the agent's doing."""
    return not code.startswith(_OURS)


def value_of(value: Any) -> str:
    """A value that stands in clear, told from others: never the value."""
    return f"{zlib.crc32(repr(value).encode('utf-8', 'surrogatepass')):08x}"


def arguments_of(event: Event) -> list[tuple[str, str]]:
    """The arguments, and for whom it was, each with what tells its values apart.

    Not numbers in clear: those are measured.
    """
    found = [
        (name, value_of(value))
        for name, value in event.parameters.items()
        if type(value) not in _NUMBERS
    ]
    for name, commitment in event.commitments.items():
        if name not in _WHOLE:
            found.append((name.removeprefix(_ARGUMENT), commitment[-16:]))
    return found


def shape_of(event: Event) -> str:
    """Which arguments there are, and of which type those in clear."""
    names = [f"{name}:{type(value).__name__}" for name, value in event.parameters.items()]
    names += [name.removeprefix(_ARGUMENT) for name in event.commitments if name not in _NONE]
    names.sort()
    return ",".join(names)
