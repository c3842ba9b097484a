"""What came of kills: gateways say it once, to whoever asked for it; here it is kept for others."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from portcullis.control.kills import Fault, Killed, Undone
from portcullis.core.feed import EVERYONE, Told

MOST: Final = 200
"""How many are remembered, by this process and as long as it lives."""


Verb: TypeAlias = Literal["killed", "undone", "isolated", "released"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was done to whom, at ``at`` (seconds since the epoch), and what gateways said of it."""

    number: str
    at: float
    verb: Verb
    scope: str
    value: str
    gateways: tuple[Told, ...] = ()
    cancelled: int = 0
    faults: tuple[Fault, ...] = ()
    incident: str = ""

    @property
    def complete(self) -> bool:
        """Whether all gateways said that they act."""
        return all(one.acknowledged is not None for one in self.gateways)

    @property
    def slowest(self) -> float:
        """After how many milliseconds the last of those that said so was known to act."""
        return max((one.acknowledged or 0.0 for one in self.gateways), default=0.0)


class Outcomes:
    """The latest. Use it from one event loop."""

    def __init__(self) -> None:
        self._all: OrderedDict[str, Outcome] = OrderedDict()
        self._count = 0

    def add(self, done: Killed | Undone, at: float) -> None:
        """Remember what came of the kill switch, whoever used it."""
        killed = isinstance(done, Killed)
        self._keep(
            "killed" if killed else "undone",
            done.scope,
            "" if done.value == EVERYONE else done.value,
            at,
            gateways=done.gateways,
            cancelled=done.cancelled if isinstance(done, Killed) else 0,
            faults=done.faults if isinstance(done, Killed) else (),
            incident=done.incident if isinstance(done, Killed) else "",
        )

    def note(self, verb: Verb, scope: str, value: str, at: float) -> Outcome:
        """Remember what else was done."""
        return self._keep(verb, scope, value, at)

    def get(self, number: str) -> Outcome | None:
        """The one that is called so, while it is remembered."""
        return self._all.get(number)

    def last(self, scope: str, value: str) -> Outcome | None:
        """What the kill switch last did to somebody."""
        whom = (scope, "" if value == EVERYONE else value)
        return next(
            (
                one
                for one in reversed(self._all.values())
                if (one.scope, one.value) == whom and one.verb in {"killed", "undone"}
            ),
            None,
        )

    def of(self, scope: str, value: str) -> Outcome | None:
        """The latest kill of somebody that nobody took back since."""
        found = self.last(scope, value)
        return found if found is not None and found.verb == "killed" else None

    def _keep(self, verb: Verb, scope: str, value: str, at: float, **more: Any) -> Outcome:
        self._count += 1
        number = f"{int(at * 1000):x}-{self._count}"  # no other after a restart
        made = Outcome(number=number, at=at, verb=verb, scope=scope, value=value, **more)
        self._all[number] = made
        while len(self._all) > MOST:
            self._all.popitem(last=False)
        return made
