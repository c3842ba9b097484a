"""``observe:`` of an agent: for how long what no grant allows it is let through and written down.

Only reads and changes are, never what sends or deletes, and nothing that anything denies. The rules
are in ``observed.rego``; here it is read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import yaml

from portcullis.core.call import RiskClass
from portcullis.core.errors import Problem
from portcullis.policy.moments import Moment, read_moment, stamp
from portcullis.policy.yaml import Entry, Reader

MOST_SECONDS: Final = 14 * 86_400
"""How far ahead the end may be: with a later one the policy is not activated, and if it were, the
rules would let nothing through."""
_OBSERVED: Final = frozenset({RiskClass.READ, RiskClass.MODIFY})


@dataclass(frozen=True, slots=True)
class Observe:
    """Until when, and why. ``entry`` is where it stands."""

    until: Moment
    reason: str
    entry: Entry

    @property
    def begin(self) -> int:
        """From when on it can hold at all, in seconds since the epoch."""
        return max(0, self.until.seconds - MOST_SECONDS)

    def holds(self, now: float) -> bool:
        """Whether the agent is observed now (seconds since the epoch)."""
        return self.begin <= now < self.until.seconds

    def data(self) -> dict[str, Any]:
        """What the rules read."""
        return {"from": stamp(self.begin), "until": self.until.text, "rule": self.entry.rule}


def read_observe(reader: Reader, path: str, node: yaml.Node | None) -> Observe | None:
    """Read ``observe:``; None where there is none, or it is at fault."""
    if node is None:
        return None
    keys = reader.section(node, path, ("until", "reason"))
    for name in ("until", "reason"):
        if name not in keys:
            reader.fault(node, f"{path} has no {name}", "It has an end, and says why.")
    if len(keys) < 2:  # noqa: PLR2004 - both
        return None
    until = read_moment(reader, keys["until"], f"{path}.until")
    reason = reader.text(keys["reason"], f"{path}.reason")
    if until is None or reason is None:
        return None
    return Observe(until, reason.value, Entry(until.entry.value, until.entry.place, path))


def observable(risk: RiskClass, highest: RiskClass, *, carries: bool) -> bool:
    """Whether calls of a tool may be let through while an agent is observed.

    ``highest`` is the highest class that some arguments make of it; ``carries``: data can leave in
    an argument of its.
    """
    return risk in _OBSERVED and highest in _OBSERVED and not carries


def require_near(observed: Iterable[tuple[str, Observe]], now: float) -> None:
    """Raise Problem PC7040 when an agent (by name) is to be observed for too long."""
    for agent, one in observed:
        if one.until.seconds - now > MOST_SECONDS:
            latest = stamp(int(now) + MOST_SECONDS)
            said = f"{one.entry.place}: {agent} would be observed until {one.until.text}"
            raise Problem("PC7040", said, hint=f"At most 14 days: now, until {latest}.")
