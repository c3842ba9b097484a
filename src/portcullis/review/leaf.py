"""What of an event evidence is folded from."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from portcullis.core.errors import Problem
from portcullis.review.facts import MAX_TEXT, Mark, Time, named


class Leaf(msgspec.Struct):
    """What of an event the fold reads."""

    id: str
    time: Time
    type: str
    principal_kind: str = ""
    principal: str = ""
    session: str = ""
    route: str = ""
    method: str = ""
    server: str = ""
    name: str = ""
    verdict: str = ""
    code: str = ""
    policy: str = ""
    decision: str = ""
    findings: tuple[str, ...] = ()
    parameters: msgspec.Raw = msgspec.Raw(b"{}")


class Told(msgspec.Struct):
    """What of an administrative event's parameters counts; anything else in them does not."""

    owner: Any = ""
    purpose: Any = ""
    review_at: Any = 0
    server: Any = ""
    tool: Any = ""
    tools: Any = None
    state: Any = ""
    before: Any = None


_TIMES: Final = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
"""Between which times events are dated: others are no clock's, and cannot be computed with."""
_leaf: Final = msgspec.json.Decoder(Leaf).decode
_told: Final = msgspec.json.Decoder(Told).decode


def name_of(origin: str) -> str:
    """The name of the log of this origin."""
    return origin.rpartition("/")[2]


def mark_of(index: int, entry: bytes, log: str) -> Mark:
    """What marks an entry of a log; Problem PC6005 when it is not an event."""
    return marked(index, read(index, entry), log)


def read(index: int, entry: bytes) -> Leaf:
    """Read an entry; Problem PC6005 when it is not an event."""
    try:
        leaf = _leaf(entry)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        detail = f"entry {index} is not an event of this version"
        raise Problem("PC6005", detail) from None
    if not _TIMES[0] <= leaf.time < _TIMES[1]:
        raise Problem("PC6005", f"entry {index} is dated as no clock dates it")
    return leaf


def marked(index: int, leaf: Leaf, log: str) -> Mark:
    """What marks an entry that was read."""
    what = leaf.method if leaf.type in {"admin", "identity"} else ""
    what = what or (f"{leaf.server}.{leaf.name}" if leaf.server else leaf.name)
    who = f"{leaf.principal_kind}:{leaf.principal}" if leaf.principal else ""
    return Mark(index, leaf.id[:MAX_TEXT], leaf.time, named(who), named(what), log)


def treatments(findings: tuple[str, ...]) -> str:
    """What was done with findings that are written ``TYPE:treatment@place``; ``note`` if nothing.

    Treatments are our own few words.
    """
    found = {finding.partition("@")[0].partition(":")[2] or "note" for finding in findings}
    return "+".join(sorted(found))


def parameters(leaf: Leaf) -> Told:
    """What an administrative event says."""
    try:
        return _told(leaf.parameters)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Told()  # not an object: it says nothing that counts


def text(value: Any) -> str:
    """A text that others chose, cut; empty for anything else."""
    return string(value)[:MAX_TEXT]


def string(value: Any) -> str:
    """A text, empty for anything else."""
    return value if isinstance(value, str) else ""


def number(value: Any) -> float:
    """A number, 0 for anything else."""
    try:
        return float(value) if isinstance(value, int | float) else 0.0
    except OverflowError:
        return 0.0
