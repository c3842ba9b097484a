"""What rules found and nobody wrote down yet: bounded, whoever makes it be found. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Final, TypeAlias

import msgspec

from portcullis.core.alert import EVIDENCE, LEVELS, Ended, Found, Raised
from portcullis.oversight.alerts.gathering import gathers, placed

_TURNS: Final = 4
"""Most that is told apart of one group: raised, over, and both once more."""
_ENDS: Final = 4096
"""Most groups of which there is only that something is over; of more, it stays unresolved."""

_Key: TypeAlias = tuple[str, str]


class Pending:
    """Gathers what was found by rule and group, in the order in which it was.

    What is raised several times becomes one, with the sum of the counts. There is as much room for
    the groups of one rule as where they are written down (``gathering.placed``).
    """

    def __init__(self) -> None:
        self._found: dict[_Key, list[Found]] = {}
        self._groups: dict[str, int] = {}
        self._ends = 0

    def __bool__(self) -> bool:
        """Whether there is anything."""
        return bool(self._found)

    def __iter__(self) -> Iterator[Found]:
        """Everything; of each group in its order."""
        return chain.from_iterable(self._found.values())

    def add(self, found: Found) -> None:
        """Take one more."""
        key = found.rule, gathers(found)
        turns = self._found.get(key)
        if isinstance(found, Ended):
            self._end(key, turns, found)
            return
        many = self._groups.get(found.rule, 0)
        if turns is None:
            found = placed(found, many, lambda one: (one.rule, gathers(one)) in self._found)
            key = found.rule, gathers(found)
            turns = self._found.get(key)
        if turns is None:
            self._groups[found.rule] = many + 1
            turns = self._found[key] = []
        if len(turns) >= _TURNS and isinstance(turns[-1], Ended):
            turns.pop()
        before = turns[-1] if turns else None
        if isinstance(before, Raised):
            turns[-1] = joined(before, found)
        else:
            turns.append(found)

    def _end(self, key: _Key, turns: list[Found] | None, found: Ended) -> None:
        if turns is None:
            if self._ends >= _ENDS:
                return
            self._ends += 1
            turns = self._found[key] = []
        if turns and isinstance(turns[-1], Ended):
            turns.pop()
        turns.append(found)


def joined(before: Raised, after: Raised) -> Raised:
    """Two of one rule and group as one: as loud as the louder, and later by the second."""
    events = tuple(dict.fromkeys((*before.events, *after.events)))
    louder = max(before, after, key=lambda one: LEVELS[one.level])
    return msgspec.structs.replace(
        after,
        level=louder.level,
        at=max(before.at, after.at),
        events=events[-EVIDENCE:],
        count=before.count + after.count,
        hidden=tuple(dict.fromkeys((*before.hidden, *after.hidden))),
    )
